/* SPDX-License-Identifier: MIT */
/*
 * What requests and bytes cost by the price table in the configuration (price_put and others of a
 * [provider] section; what is not configured is free).
 */
#ifndef C2_TOOLS_PRICE_H
#define C2_TOOLS_PRICE_H

#include "tools/cmd.h"

#define PRICE_LINES_MAX 64u

/* Of one provider. PUT and LIST are charged alike, GET and HEAD as well. */
struct price_line {
    char provider[CTL_NAME_MAX + 1];
    uint64_t puts, gets, deletes;
    uint64_t up, down; /* bytes */
    uint64_t stored;   /* bytes, for a month */
    double cost;       /* price_sum fills it in */
};

struct price_account {
    size_t n;
    struct price_line line[PRICE_LINES_MAX];
};

/* The line of a provider, a new one if need be; NULL when there is no place. */
struct price_line *price_line_of(struct price_account *a, const char *name, size_t len);
/* Sorts the lines by name and gives the cost of all. */
double price_sum(const struct cmd_ctx *x, struct price_account *a);
/* Millionths, for JSON. */
uint64_t price_micro(double cost);
/* Whether anything is known of what these charge. */
bool price_known(const struct cmd_ctx *x, const struct price_account *a);
/* "0.0042", or that no prices are configured; for people. `out` is PRICE_TEXT_MAX long. */
#define PRICE_TEXT_MAX 96
const char *price_text(const struct cmd_ctx *x, const struct price_account *a, double cost,
                       char *out);
/* Whichever of them is dearest for this price: "price_get". NULL when n is 0. */
const char *price_dearest(const struct cmd_ctx *x, const char *const *names, size_t n,
                          const char *key);
/* Reading so many bytes with one GET of each of the `count` cheapest; negative when there are
 * fewer. */
double price_cheapest_read(const struct cmd_ctx *x, const char *const *names, size_t n,
                           size_t count, uint64_t bytes);

#endif
