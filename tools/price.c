/* SPDX-License-Identifier: MIT */
/*
 * The price table at work.
 */
#include "tools/price.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GB       1e9
#define THOUSAND 1000.0
#define BILLION  1e9
#define MICRO    1e6

static const char *const keys[] = { "price_put", "price_get", "price_delete", "price_egress",
                                    "price_storage" };

struct price_line *
price_line_of(struct price_account *a, const char *name, size_t len)
{
    for (size_t k = 0; k < a->n; k++)
        if (strncmp(a->line[k].provider, name, len) == 0 && a->line[k].provider[len] == '\0')
            return &a->line[k];
    if (a->n == PRICE_LINES_MAX || len > CTL_NAME_MAX)
        return NULL;
    struct price_line *l = &a->line[a->n++];
    *l = (struct price_line){ 0 };
    memcpy(l->provider, name, len);
    return l;
}

static double
price(const struct cmd_ctx *x, const char *provider, const char *key)
{
    if (!c2_conf_has_section(x->conf, "provider", provider))
        return 0;
    return (double)c2_conf_u64(x->conf, "provider", provider, key) / BILLION;
}

static int
by_name(const void *a, const void *b)
{
    return strcmp(((const struct price_line *)a)->provider,
                  ((const struct price_line *)b)->provider);
}

double
price_sum(const struct cmd_ctx *x, struct price_account *a)
{
    double sum = 0;
    qsort(a->line, a->n, sizeof(a->line[0]), by_name);
    for (size_t k = 0; k < a->n; k++) {
        struct price_line *l = &a->line[k];
        l->cost = (double)l->puts / THOUSAND * price(x, l->provider, "price_put") +
                  (double)l->gets / THOUSAND * price(x, l->provider, "price_get") +
                  (double)l->deletes / THOUSAND * price(x, l->provider, "price_delete") +
                  (double)l->down / GB * price(x, l->provider, "price_egress") +
                  (double)l->stored / GB * price(x, l->provider, "price_storage");
        sum += l->cost;
    }
    return sum;
}

uint64_t
price_micro(double cost)
{
    return (uint64_t)(cost * MICRO + 0.5);
}

bool
price_known(const struct cmd_ctx *x, const struct price_account *a)
{
    if (a->n == 0)
        return true; /* nobody charges anything */
    for (size_t k = 0; k < a->n; k++)
        for (size_t i = 0; i < C2_ARRAY_LEN(keys); i++)
            if (price(x, a->line[k].provider, keys[i]) > 0)
                return true;
    return false;
}

const char *
price_text(const struct cmd_ctx *x, const struct price_account *a, double cost, char *out)
{
    if (price_known(x, a))
        (void)snprintf(out, PRICE_TEXT_MAX, "%.4f", cost);
    else
        (void)snprintf(out, PRICE_TEXT_MAX,
                       "not known: no prices in the configuration (price_put and others)");
    return out;
}

const char *
price_dearest(const struct cmd_ctx *x, const char *const *names, size_t n, const char *key)
{
    const char *dearest = n > 0 ? names[0] : NULL;
    for (size_t k = 1; k < n; k++)
        if (price(x, names[k], key) > price(x, dearest, key))
            dearest = names[k];
    return dearest;
}

static int
by_size(const void *a, const void *b)
{
    double left = *(const double *)a, right = *(const double *)b;
    return (left > right) - (left < right);
}

double
price_cheapest_read(const struct cmd_ctx *x, const char *const *names, size_t n, size_t count,
                    uint64_t bytes)
{
    double reads[PRICE_LINES_MAX], sum = 0;
    if (n < count || n > PRICE_LINES_MAX)
        return -1;
    for (size_t k = 0; k < n; k++)
        reads[k] = price(x, names[k], "price_get") / THOUSAND +
                   price(x, names[k], "price_egress") * (double)bytes / GB;
    qsort(reads, n, sizeof reads[0], by_size);
    for (size_t k = 0; k < count; k++)
        sum += reads[k];
    return sum;
}
