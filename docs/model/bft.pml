/* SPDX-License-Identifier: MIT */
/*
 * The core of the replicated service: four replicas, one of them Byzantine, one sequence number,
 * up to three views, crashes. The network is the set of all messages ever sent (signed messages can be
 * shown to anybody at any time), so every action below may use any of them: loss, delay, order and
 * repetition are all there.
 *
 *   replicas 0, 1, 2 are correct, 3 is not: it has signed everything it can sign. Its votes are in
 *   every count; of certificates it shows what exists, or nothing. It is the primary of view 0.
 *   values 1 and 2 are batches, 3 is the null batch of a NEW-VIEW.
 *
 * Checked: no two values are decided (agreement); a fast read that begins after the write was
 * acknowledged does not miss it (the rule of bft_on_read).
 *
 *   -DREADS      fast reads, and the execution that they need
 *   -DAMNESIA    votes, certificates and the view are not durable before they are sent
 *   -DEAGER      a fast read is answered whatever this replica has sent a COMMIT for
 *   -DBLIND      certificates that a VIEW-CHANGE shows are not verified
 * Each of the last three must lead to a violation; docs/model/run expects that.
 */
#define CORRECT 3
#define BYZ     1 /* the votes of replica 3 */
#ifndef VIEWS
#define VIEWS 3
#endif
#define VALUES  4 /* 1..3 */
#define QUORUM  3
#ifndef CRASHES
#define CRASHES 1
#endif

#define ONES(m)        (((m) & 1) + (((m) >> 1) & 1) + (((m) >> 2) & 1))
#define AT(v, d)       ((v) * VALUES + (d))
#define PREPARED(v, d) (ONES(prepares[AT(v, d)]) + BYZ >= QUORUM)
#define DECIDED(v, d)  (ONES(commits[AT(v, d)]) + BYZ >= QUORUM)

/* what was sent */
byte prepares[VIEWS * VALUES]; /* by whom; a primary's proposal is its PREPARE */
byte commits[VIEWS * VALUES];
byte proposal[VIEWS]; /* of the correct primaries; view 0 has all */
byte vc_sent[VIEWS];  /* by whom */
byte vc_view[VIEWS * CORRECT], vc_value[VIEWS * CORRECT]; /* certificate in it; value 0 = none */

/* a correct replica */
byte view[CORRECT];
bool leaving[CORRECT];
byte voted[CORRECT * VIEWS];
byte cert_view[CORRECT], cert_value[CORRECT];
bool committed[CORRECT]; /* it has sent a COMMIT */
byte executed[CORRECT];

byte decided, acked, missed, crashes;

inline vote(i, v, d)
{
    voted[i * VIEWS + v] = d;
    prepares[AT(v, d)] = prepares[AT(v, d)] | (1 << i);
}

inline consider(v, d) /* a certificate, for the NEW-VIEW in the making */
{
    if
    :: d != 0 && (best == 0 || v > best_view) -> best = d; best_view = v
    :: else
    fi
}

/* The primary of view v takes its own VIEW-CHANGE and two more. */
inline new_view(v, p)
{
    best = 0;
    best_view = 0;
    taken = 1;
    consider(vc_view[v * CORRECT + p], vc_value[v * CORRECT + p]);
    j = 0;
    do
    :: j < CORRECT ->
        if
        :: j != p && (vc_sent[v] & (1 << j)) && taken < QUORUM ->
            taken++;
            consider(vc_view[v * CORRECT + j], vc_value[v * CORRECT + j])
        :: true
        fi;
        j++
    :: else -> break
    od;
    if
    :: taken == QUORUM - 1 -> /* replica 3's: nothing, or something that was prepared */
        taken++;
        if
        :: true
        :: PREPARED(0, 1) -> consider(0, 1)
        :: PREPARED(0, 2) -> consider(0, 2)
#if VIEWS > 2
        :: v == 2 && PREPARED(1, 1) -> consider(1, 1)
        :: v == 2 && PREPARED(1, 2) -> consider(1, 2)
        :: v == 2 && PREPARED(1, 3) -> consider(1, 3)
#endif
#ifdef BLIND
        :: true -> consider(v - 1, 1)
        :: true -> consider(v - 1, 2)
#endif
        fi
    :: else
    fi;
    if
    :: taken == QUORUM ->
        if
        :: best == 0 -> best = 3
        :: else
        fi;
        proposal[v] = best;
        leaving[p] = false;
        vote(p, v, best)
    :: else
    fi;
    j = 0; best = 0; best_view = 0; taken = 0
}

inline crash(i)
{
    crashes++;
    executed[i] = 0; /* what was executed since the last checkpoint */
#ifdef AMNESIA
    voted[i * VIEWS] = 0;
    voted[i * VIEWS + 1] = 0;
#if VIEWS > 2
    voted[i * VIEWS + 2] = 0;
#endif
    cert_view[i] = 0;
    cert_value[i] = 0;
    committed[i] = false;
#endif
}

inline learn(v, d) /* a decision of view v */
{
    assert(decided == 0 || decided == d);
    decided = d
}

active proctype world()
{
    byte i, v, d, j, best, best_view, taken;
    do
    :: atomic {
        select(i : 0 .. 2);
        select(d : 1 .. 3);
        v = view[i];
        if
        /* PREPARE: the primary of view 0 has proposed both values */
        :: !leaving[i] && v == 0 && d < 3 && voted[i * VIEWS] == 0 -> vote(i, 0, d)
        :: !leaving[i] && v > 0 && proposal[v] == d && voted[i * VIEWS + v] == 0 -> vote(i, v, d)
        /* COMMIT */
        :: !leaving[i] && voted[i * VIEWS + v] == d && PREPARED(v, d) &&
           !(commits[AT(v, d)] & (1 << i)) ->
            cert_view[i] = v;
            cert_value[i] = d;
            committed[i] = true;
            commits[AT(v, d)] = commits[AT(v, d)] | (1 << i);
            if
            :: DECIDED(v, d) -> learn(v, d)
            :: else
            fi
#ifdef READS
        /* execution, and with it the acknowledgement: f + 1 replies, one of them replica 3's */
        :: executed[i] == 0 && decided == d -> executed[i] = d; acked = d
#endif
        /* VIEW-CHANGE */
        :: v < VIEWS - 1 && d == 1 ->
            view[i] = v + 1;
            leaving[i] = true;
            vc_sent[v + 1] = vc_sent[v + 1] | (1 << i);
            vc_view[(v + 1) * CORRECT + i] = cert_view[i];
            vc_value[(v + 1) * CORRECT + i] = cert_value[i]
        /* NEW-VIEW: replica 0 is the primary of view 1, replica 1 of view 2 */
        :: leaving[i] && v == i + 1 && v < VIEWS && proposal[v] == 0 && d == 1 -> new_view(v, i)
        /* entering the view of a NEW-VIEW */
        :: leaving[i] && proposal[v] != 0 && d == 1 -> leaving[i] = false
        :: v < 1 && proposal[1] != 0 && d == 1 -> view[i] = 1; leaving[i] = false
#if VIEWS > 2
        :: v < 2 && proposal[2] != 0 && d == 1 -> view[i] = 2; leaving[i] = false
#endif
        :: crashes < CRASHES && d == 1 -> crash(i)
#ifdef READS
        /* a fast read that begins after the acknowledgement: this replica has not executed it */
        :: acked != 0 && executed[i] == 0 && d == 1 &&
#ifdef EAGER
           true ->
#else
           !committed[i] ->
#endif
            missed = missed | (1 << i);
            assert(ONES(missed) + BYZ < QUORUM)
#endif
        :: else
        fi;
        i = 0; d = 0; v = 0
    }
    od
}
