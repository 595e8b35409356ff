/* SPDX-License-Identifier: MIT */
/*
 * From a URL to an implementation.
 */
#include "metadata/registry.h"

#include <string.h>

#include "base/alloc.h"
#include "metadata/local.h"

static const char local_scheme[] = "local:";

C2_RESULT
coord_open(struct c2_env *env, const char *url, bool create, struct coord **ret_coord,
           char **ret_error)
{
    char *error = NULL;
    enum c2_err err = C2_E_CONFIG;
    size_t len = strlen(local_scheme);
    if (strncmp(url, local_scheme, len) != 0) {
        error = c2_asprintf("metadata \"%s\" is not of the form local:PATH", url);
    } else if (url[len] == '\0') {
        error = c2_asprintf("metadata \"%s\" lacks the path of a folder", url);
    } else {
        err = coord_local_open(env, url + len, create, COORD_MAP_SIZE_DEFAULT, ret_coord, &error);
    }
    if (err != C2_E_OK && ret_error != NULL) {
        *ret_error = error;
    } else {
        c2_free(error);
    }
    return err;
}
