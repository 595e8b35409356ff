/* SPDX-License-Identifier: MIT */
/*
 * Feeds files to a fuzz target, one after the other, without a fuzzer: replay_NAME FILE...
 */
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define INPUT_MAX (1u << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int
main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        FILE *file = fopen(argv[i], "rb");
        uint8_t *data = malloc(INPUT_MAX);
        if (file == NULL || data == NULL) {
            perror(argv[i]);
            free(data);
            return 1;
        }
        size_t size = fread(data, 1, INPUT_MAX, file);
        fclose(file);
        /* An exact allocation, so that a read past the end is seen. */
        uint8_t *exact = realloc(data, size > 0 ? size : 1);
        if (exact == NULL)
            return 1;
        fprintf(stderr, "%s\n", argv[i]);
        LLVMFuzzerTestOneInput(exact, size);
        free(exact);
    }
    return 0;
}
