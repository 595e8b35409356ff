/* SPDX-License-Identifier: MIT */
/*
 * A note book in four clouds of which one may fail, lie or disappear: one blocking call after the
 * other. Notes are DepSky-CA units, so no cloud alone can read one.
 *
 *     cc notes.c -o notes $(pkg-config --cflags --libs depsky)
 *     ./notes KEYFILE URL URL URL URL put NAME TEXT
 *     ./notes KEYFILE URL URL URL URL get NAME
 *     ./notes KEYFILE URL URL URL URL log NAME
 *
 * A URL is dir:/PATH or s3://BUCKET/PREFIX?endpoint=https://HOST. KEYFILE has 32 secret random
 * bytes (head -c 32 /dev/urandom >KEYFILE): who has them may write.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <depsky/clouds.h>

static int
fail(const char *what, enum c2_err err, const char *detail)
{
    fprintf(stderr, "notes: %s: %s\n", what, detail != NULL ? detail : c2_err_text(err));
    return 1;
}

static int
put(struct ds_clouds *clouds, struct ds_unit *unit, const char *text)
{
    /* Others may write the same note: take turns. The lock ends by itself if we crash. */
    struct ds_unit_lock lock = { .wait_ns = 30 * C2_NS_PER_S };
    enum c2_err err = ds_wait_unit_lock(clouds, unit, &lock);
    if (err != C2_E_OK)
        return fail("lock", err, NULL);

    struct c2_slice piece = c2_slice_str(text);
    struct ds_unit_write write = { .protocol = DS_UNIT_CA, .data = &piece, .ndata = 1, .keep = 10 };
    err = ds_wait_unit_write(clouds, unit, &write);

    struct ds_unit_unlock unlock = { 0 };
    if (ds_wait_unit_unlock(clouds, unit, &unlock) != C2_E_OK)
        fprintf(stderr, "notes: the lock stays until it expires\n");
    if (err != C2_E_OK)
        return fail("put", err, NULL);
    printf("version %llu\n", (unsigned long long)write.written.version);
    return 0;
}

static int
get(struct ds_clouds *clouds, struct ds_unit *unit)
{
    struct ds_unit_read read = { 0 };
    enum c2_err err = ds_wait_unit_read(clouds, unit, &read);
    if (err != C2_E_OK)
        return fail("get", err, NULL);
    fwrite(read.data->data, 1, read.data->len, stdout);
    putchar('\n');
    c2_blob_unref(read.data); /* what a request gives out is the caller's */
    return 0;
}

static int
show_log(struct ds_clouds *clouds, struct ds_unit *unit)
{
    struct ds_unit_versions versions = { 0 };
    enum c2_err err = ds_wait_unit_versions(clouds, unit, &versions);
    if (err != C2_E_OK)
        return fail("log", err, NULL);
    for (size_t i = 0; i < versions.nitems; i++)
        printf("version %llu, %llu bytes\n", (unsigned long long)versions.items[i].version,
               (unsigned long long)versions.items[i].size);
    c2_free(versions.items);
    return 0;
}

static int
run(struct ds_clouds *clouds, const unsigned char *seed, int argc, char **argv)
{
    uint8_t secret[DS_UNIT_SECRET_LEN], public_key[1][DS_UNIT_PUBLIC_LEN];
    ds_unit_keypair(seed, secret, public_key[0]);
    struct ds_unit_config config = {
        .name = argv[1], .writers = public_key, .nwriters = 1, .secret = secret
    };
    struct ds_unit *unit;
    enum c2_err err = ds_unit_open(ds_clouds_client(clouds), &config, &unit);
    c2_wipe(secret, sizeof(secret));
    if (err != C2_E_OK)
        return fail(argv[1], err, NULL);
    int code = 2;
    if (strcmp(argv[0], "put") == 0 && argc == 3)
        code = put(clouds, unit, argv[2]);
    else if (strcmp(argv[0], "get") == 0)
        code = get(clouds, unit);
    else if (strcmp(argv[0], "log") == 0)
        code = show_log(clouds, unit);
    ds_unit_close(unit);
    return code;
}

int
main(int argc, char **argv)
{
    unsigned char seed[DS_UNIT_SEED_LEN];
    if (argc < 8) {
        fprintf(stderr, "usage: notes KEYFILE URL URL URL URL put|get|log NAME [TEXT]\n");
        return 2;
    }
    FILE *f = fopen(argv[1], "rb");
    if (f == NULL || fread(seed, 1, sizeof(seed), f) != sizeof(seed)) {
        perror(argv[1]);
        return 1;
    }
    fclose(f);

    struct ds_clouds_config config;
    struct ds_clouds *clouds;
    char *error;
    ds_clouds_config_default(&config);
    config.urls = (const char *const *)argv + 2;
    config.nurls = 4;
    enum c2_err err = ds_clouds_open(&config, &clouds, &error);
    if (err != C2_E_OK) {
        fail("open", err, error);
        c2_free(error);
        return 1;
    }
    int code = run(clouds, seed, argc - 6, argv + 6);
    ds_clouds_close(clouds);
    return code;
}
