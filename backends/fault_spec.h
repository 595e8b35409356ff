/* SPDX-License-Identifier: MIT */
/*
 * The language of faults:
 *
 *     spec = "" | rule { "," rule }
 *     rule = [ verb "." ] kind [ ":" chance ] [ ":" duration ]     chance = "5%" "0.1%"
 *          | [ verb "." ] threat [ ":" chance ]                    threat = "T01" ... "T15"
 *     verb = put | get | head | delete | delete_many | list
 *
 * Without a verb a rule holds for every verb its kind makes sense for, without a chance always.
 *
 *     kind      verbs          what happens
 *     error     all            answers UNAVAILABLE (HTTP 500), nothing done
 *     down      all            answers UNREACHABLE, nothing done
 *     throttle  all            answers THROTTLED and asks to wait a second, nothing done
 *     noack     all            does it, then answers UNREACHABLE: the answer got lost
 *     delay     all            waits the duration first ("delay:200ms", "delay:10%:2s")
 *     hang      all            never answers: TIMEOUT at the deadline (a minute without one)
 *     drip      get list       the answer comes so slowly that it is not whole at the deadline;
 *                              with a duration ("drip:1s"): so long for every 32 KiB
 *     protocol  all            answers something that is no HTTP or no XML, nothing done
 *     redirect  all            sends us elsewhere, nothing done
 *     tls       all            its certificate is not its own, or it speaks no TLS, nothing done
 *     denied    all            refuses our signature (its clock is wrong, it says), nothing done
 *     forbidden all            our key lacks the right to do that, nothing done
 *     full      put            refuses to store more: the quota is used up
 *     skew      all            its clock is a day ahead or behind
 *     lie       put            acknowledges without storing
 *     checksum  put            stores, and acknowledges other bytes than ours
 *     rollback  put delete delete_many
 *                              acknowledges, and the bucket stays as it was
 *     absent    get head list  NOT_FOUND although it is there; a list leaves keys out
 *     empty     get list       an object of no bytes; a list of no keys
 *     corrupt   get            one byte is wrong
 *     truncate  get            bytes are missing at the end
 *     huge      get head       more bytes than asked for; an absurd size
 *     swap      get            the bytes of another object
 *     stale     get head       what the object was before it was written or deleted while the
 *                              rule was in force: other bytes, or nothing
 *     forge     list           a key that does not exist
 *     loop      list           begins again and again, and says that more follows
 *
 * A threat is a name of the adversarial tests; it stands for the rules in fault_threats[].
 */
#ifndef C2_BACKENDS_FAULT_SPEC_H
#define C2_BACKENDS_FAULT_SPEC_H

#include "backends/provider.h"

#define FAULT_RULES_MAX   32
#define FAULT_CHANCE_FULL 1000000u /* parts per million */

enum fault_kind {
    FAULT_ERROR,
    FAULT_DOWN,
    FAULT_THROTTLE,
    FAULT_NOACK,
    FAULT_DELAY,
    FAULT_HANG,
    FAULT_LIE,
    FAULT_ABSENT,
    FAULT_EMPTY,
    FAULT_CORRUPT,
    FAULT_TRUNCATE,
    FAULT_HUGE,
    FAULT_SWAP,
    FAULT_STALE,
    FAULT_FORGE,
    FAULT_DRIP,
    FAULT_PROTOCOL,
    FAULT_REDIRECT,
    FAULT_TLS,
    FAULT_DENIED,
    FAULT_SKEW,
    FAULT_CHECKSUM,
    FAULT_ROLLBACK,
    FAULT_LOOP,
    FAULT_FULL,
    FAULT_FORBIDDEN,
    FAULT_KIND_COUNT,
};

struct fault_rule {
    enum fault_kind kind;
    unsigned verbs;      /* OR of 1 << enum prov_verb */
    uint32_t chance_ppm; /* of each request */
    uint64_t delay_ns;   /* FAULT_DELAY, FAULT_DRIP */
};

struct fault_spec {
    struct fault_rule rules[FAULT_RULES_MAX];
    size_t count;
};

/* What a provider may do to us: T01 to T15, in order. */
#define FAULT_THREATS 15

struct fault_threat {
    const char *name; /* "T01" */
    const char *what; /* for people */
    const char *spec; /* rules that are it */
};

extern const struct fault_threat fault_threats[FAULT_THREATS];

/* OR of 1 << enum fault_kind: what belongs to a threat. */
unsigned fault_threat_kinds(unsigned threat);

const char *fault_kind_name(enum fault_kind kind);
/* False when there is no such kind. */
bool fault_kind_find(const char *name, enum fault_kind *ret_kind);
/* ret_error, if not NULL, gets a sentence for people (c2_free) on failure. */
C2_RESULT fault_spec_parse(const char *text, struct fault_spec *ret_spec, char **ret_error);

#endif
