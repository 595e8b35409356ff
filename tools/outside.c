/* SPDX-License-Identifier: MIT */
#include "tools/outside.h"

#include <dirent.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "backends/registry.h"
#include "base/alloc.h"
#include "base/crypto.h"
#include "base/os_loop.h"
#include "metadata/cluster.h"
#include "metadata/registry.h"

#define ANSWER_NS     (5 * C2_NS_PER_S)
#define LOOK_NS       (3 * C2_NS_PER_S)
#define LOOK_EVERY_NS (20 * C2_NS_PER_MS)

size_t
outside_providers(const struct cmd_ctx *x, const char *names[CTL_PROVIDERS_MAX])
{
    size_t n = 0;
    while (n < CTL_PROVIDERS_MAX && (names[n] = c2_conf_section(x->conf, "provider", n)) != NULL)
        n++;
    return n;
}

uint64_t
outside_folder_bytes(const struct cmd_ctx *x, const char *volume, const char *folder)
{
    const char *cache_dir = cmd_cache_dir(x, volume);
    if (cache_dir == NULL)
        return 0;
    char *path = c2_asprintf("%s/%s", cache_dir, folder);
    DIR *d = opendir(path);
    c2_free(path);
    if (d == NULL)
        return 0;
    uint64_t bytes = 0;
    const struct dirent *e;
    struct stat st;
    while ((e = readdir(d)) != NULL)
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISREG(st.st_mode))
            bytes += (uint64_t)st.st_blocks * 512;
    closedir(d);
    return bytes;
}

void
outside_conflicts(const struct cmd_ctx *x, const char *volume, char *out, size_t size)
{
    static const char prefix[] = "journal.conflict-";
    const char *cache_dir = cmd_cache_dir(x, volume);
    DIR *d = cache_dir == NULL ? NULL : opendir(cache_dir);
    const struct dirent *e;
    struct c2_buf text = { 0 };
    while (d != NULL && (e = readdir(d)) != NULL)
        if (strncmp(e->d_name, prefix, sizeof(prefix) - 1) == 0 &&
            text.len + strlen(cache_dir) + strlen(e->d_name) + 2 < size)
            c2_buf_printf(&text, "%s/%s\n", cache_dir, e->d_name);
    if (d != NULL)
        closedir(d);
    ctl_set(out, size, c2_buf_cstr(&text));
    c2_buf_done(&text);
}

/* ---- asking the providers ---------------------------------------------------------------------
 */

struct ask {
    struct provider *p; /* NULL: could not be opened */
    struct prov_req req;
    uint64_t started_ns;
    struct asking *all;
    struct ctl_provider *out;
};

struct asking {
    struct c2_env *env;
    size_t left;
    bool done;
    struct ask each[CTL_PROVIDERS_MAX];
};

static void
answered(struct prov_req *r)
{
    struct ask *a = C2_CONTAINER_OF(r, struct ask, req);
    /* "Not found" is what a provider says that works: there is no such key. */
    bool ok = r->err == C2_E_OK || r->err == C2_E_NOT_FOUND;
    ctl_set(a->out->state, sizeof(a->out->state), ok ? "online" : "unreachable");
    a->out->last_ok_age_ns = ok ? 0 : UINT64_MAX;
    if (ok) {
        a->out->p50_ns = c2_now_ns(a->all->env) - a->started_ns;
        a->out->p99_ns = a->out->p50_ns;
    } else {
        a->out->errors = 1;
        ctl_set(a->out->last_error, sizeof(a->out->last_error), c2_err_name(r->err));
        ctl_set(a->out->last_detail, sizeof(a->out->last_detail), r->detail);
    }
    prov_req_done(r);
    if (--a->all->left == 0)
        a->all->done = true;
}

static void
ask(const struct cmd_ctx *x, struct c2_os *os, struct asking *all, struct ask *a)
{
    char *error = NULL;
    a->all = all;
    enum c2_err err = prov_open(all->env, os, x->conf, a->out->name, &a->p, &error);
    if (err != C2_E_OK) {
        ctl_set(a->out->state, sizeof(a->out->state), "unreachable");
        ctl_set(a->out->last_error, sizeof(a->out->last_error), c2_err_name(err));
        ctl_set(a->out->last_detail, sizeof(a->out->last_detail), error);
        a->out->last_ok_age_ns = UINT64_MAX;
        c2_free(error);
        return;
    }
    all->left++;
    a->started_ns = c2_now_ns(all->env);
    a->req = (struct prov_req){ .verb = PROV_HEAD,
                                .key = "v1/probe/status",
                                .deadline_ns = a->started_ns + ANSWER_NS,
                                .done = answered };
    prov_submit(a->p, &a->req);
}

static C2_RESULT
ask_all(const struct cmd_ctx *x, struct ctl_status *s)
{
    struct c2_os *os;
    C2_TRY(c2_os_new(1, &os));
    struct asking *all = c2_calloc(1, sizeof(*all));
    all->env = c2_os_env(os);
    for (uint32_t k = 0; k < s->nproviders; k++) {
        all->each[k].out = &s->providers[k];
        ask(x, os, all, &all->each[k]);
    }
    if (all->left > 0)
        c2_os_run_until(os, &all->done);
    for (uint32_t k = 0; k < s->nproviders; k++)
        prov_close(all->each[k].p);
    c2_free(all);
    c2_os_drain(os);
    c2_os_free(os);
    return C2_E_OK;
}

/* ---- looking at the coordination service ----------------------------------------------------- */

struct looking {
    struct c2_env *env;
    struct coord *coord;
    struct cluster_info info;
    struct c2_timer timer;
    uint64_t deadline_ns;
    bool over;
};

static void
look(struct c2_timer *t)
{
    struct looking *l = C2_CONTAINER_OF(t, struct looking, timer);
    unsigned up = 0;
    if (cluster_look(l->coord, &l->info)) {
        for (unsigned k = 0; k < l->info.n; k++)
            up += l->info.replica[k].up;
    }
    uint64_t now_ns = c2_now_ns(l->env);
    l->over = up == l->info.n || now_ns >= l->deadline_ns;
    c2_timer_arm(l->env, t, now_ns + LOOK_EVERY_NS);
}

static void
fill_replicas(const struct cluster_info *i, struct ctl_status *s)
{
    s->replica_f = i->f;
    s->view = i->view;
    s->nreplicas = C2_MIN(i->n, CTL_REPLICAS_MAX);
    for (uint32_t k = 0; k < s->nreplicas; k++) {
        struct ctl_replica *r = &s->replicas[k];
        enum c2_err err = i->replica[k].error;
        ctl_set(r->address, sizeof(r->address), i->replica[k].address);
        r->up = i->replica[k].up;
        ctl_set(r->last_error, sizeof(r->last_error),
                r->up || err == C2_E_OK ? "" : c2_err_name(err));
    }
}

/* metadata = bft: which replicas can be connected to. */
static C2_RESULT
look_at_replicas(const struct cmd_ctx *x, const char *url, struct ctl_status *s, char **ret_error)
{
    struct looking l = { .timer = { .fire = look } };
    struct c2_os *os;
    if (url == NULL || strncmp(url, "bft:", 4) != 0)
        return C2_E_OK;
    C2_TRY(c2_crypto_init());
    C2_TRY(c2_os_new(1, &os));
    l.env = c2_os_env(os);
    enum c2_err err = coord_open_conf(l.env, x->conf, url, false, &l.coord, ret_error);
    if (err == C2_E_OK) {
        l.deadline_ns = c2_now_ns(l.env) + LOOK_NS;
        look(&l.timer);
        c2_os_run_until(os, &l.over);
        c2_timer_stop(l.env, &l.timer);
        fill_replicas(&l.info, s);
        coord_close(l.coord);
    }
    c2_os_drain(os);
    c2_os_free(os);
    return err;
}

C2_RESULT
outside_status(const struct cmd_ctx *x, const char *volume, struct ctl_status *ret_status,
               char **ret_error)
{
    const char *names[CTL_PROVIDERS_MAX] = { 0 };
    const char *cache_dir = cmd_cache_dir(x, volume);
    if (cache_dir == NULL) {
        *ret_error = c2_asprintf("[volume \"%s\"] has no cache_dir", volume);
        return C2_E_CONFIG;
    }
    memset(ret_status, 0, sizeof(*ret_status));
    ctl_set(ret_status->volume, sizeof(ret_status->volume), volume);
    ctl_set(ret_status->version, sizeof(ret_status->version), C2_VERSION);
    ctl_set(ret_status->metadata, sizeof(ret_status->metadata),
            c2_conf_str(x->conf, "volume", volume, "metadata"));
    ret_status->journal_max = c2_conf_u64(x->conf, "volume", volume, "journal_size");
    ret_status->journal_used = outside_folder_bytes(x, volume, "journal");
    ret_status->cache_disk = outside_folder_bytes(x, volume, "cache");
    ret_status->cache_disk_max = c2_conf_u64(x->conf, "volume", volume, "cache_size");
    ret_status->nproviders = (uint32_t)outside_providers(x, names);
    ret_status->n = ret_status->nproviders;
    ret_status->f = ret_status->n >= 4 ? (ret_status->n - 1) / 3 : 0;
    for (uint32_t k = 0; k < ret_status->nproviders; k++) {
        ret_status->providers[k].seat = k;
        ctl_set(ret_status->providers[k].name, sizeof(ret_status->providers[k].name), names[k]);
    }
    C2_TRY(look_at_replicas(x, c2_conf_str(x->conf, "volume", volume, "metadata"), ret_status,
                            ret_error));
    return ask_all(x, ret_status);
}
