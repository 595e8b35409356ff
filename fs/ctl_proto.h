/* SPDX-License-Identifier: MIT */
/*
 * What c2fsctl and the mount daemon say to each other on the control socket <cache_dir>/ctl.
 * A frame is u32 length and that many bytes. A connection carries one request at a time:
 *
 *   request   u8 version, u8 verb, u64 number, bytes text, bytes text2
 *   answer    u8 version, u8 kind, then
 *             CTL_PROGRESS: u64 files, u64 bytes         (any number of them, then the result)
 *             CTL_RESULT:   bytes error name, bytes message, bytes body
 *
 * The body of STATUS is an encoded struct ctl_status, that of STATS a list of (name, u64), that of
 * JOB_LIST a list of struct ctl_job. Both ends bound everything they read.
 */
#ifndef C2_FS_CTL_PROTO_H
#define C2_FS_CTL_PROTO_H

#include "base/wire.h"

#define CTL_VERSION          1
#define CTL_REQUEST_MAX      (16u << 10)
#define CTL_ANSWER_MAX       (256u << 10)
#define CTL_TEXT_MAX         4096u
#define CTL_NAME_MAX         64u
#define CTL_PROVIDERS_MAX    16u
#define CTL_REPLICAS_MAX     10u
#define CTL_VERBS_MAX        8u
#define CTL_COUNTERS_MAX     512u
#define CTL_JOBS_MAX         8u
#define CTL_JOB_COUNTERS_MAX 16u
#define CTL_SOCKET           "ctl" /* in cache_dir */
#define CTL_FAULT_ASK        1

enum ctl_verb {
    CTL_STATUS = 1,         /* -> ctl_status; number 1 = as known, no provider is asked for it */
    CTL_FLUSH = 2,          /* number = timeout in ns; progress, then the result */
    CTL_STOP = 3,           /* number = timeout in ns: flush, unmount, end */
    CTL_STATS = 4,          /* -> counters */
    CTL_PROVIDER_FAULT = 5, /* text = provider, text2 = specification, number CTL_FAULT_ASK = leave
                             * it as it is; -> counters of what was injected, per kind */
    CTL_CACHE_CLEAR = 6,
    CTL_LOG_LEVEL = 7,   /* text = level; body = the level before */
    CTL_JOB_START = 8,   /* text = kind, text2 = parameters, number = bytes per second, 0 = any */
    CTL_JOB_CONTROL = 9, /* text = kind, text2 = "pause" "resume" "cancel", or "limit" to number */
    CTL_JOB_LIST = 10,   /* text = kind, empty = all; -> jobs */
    CTL_GC = 11, /* text = "delete" or nothing: only look; number = retention in ns, UINT64_MAX =
                  * as configured; -> counters */
    CTL_SCRUB_REPORT = 12, /* text = "scrub" or "repair" -> counters PROVIDER/NAME, per provider */
    CTL_SCRUB_ESTIMATE = 13,  /* -> counters: what reading everything would take */
    CTL_PROVIDER_CHANGE = 14, /* text = "add" "offline" "online" "reopen", text2 = provider */
    CTL_PROVIDER_PLAN = 15,   /* text = "replace" "drain" "remove" "purge", text2 = provider, for
                               * replace   also the new one -> counters of what would be moved */
    CTL_USAGE = 16,    /* -> counters MONTH/PROVIDER/NAME: requests by verb, bytes up and down */
    CTL_EVIDENCE = 17, /* -> what providers gave that is not what was stored there (fs/usage.h) */
    CTL_FSCK = 18,     /* text = "repair" or nothing, text2 = "deep" or nothing; progress, then ->
                        * bytes counters, bytes text: a line for each problem */
    CTL_VERIFY = 19, /* text = inodes, u64 each -> counters: verdict of each inode under its number
                      * (enum ctl_verdict), then sums */
    CTL_VERB_LAST = CTL_VERIFY,
};

/* What verify says of a file. */
enum ctl_verdict {
    CTL_VERDICT_GOOD,       /* every share of its data is there and right */
    CTL_VERDICT_LOCAL,      /* some of it is not in the clouds yet; the rest is good */
    CTL_VERDICT_UNKNOWN,    /* readable; some shares could not be asked for */
    CTL_VERDICT_DEGRADED,   /* readable; some shares are missing or wrong */
    CTL_VERDICT_UNREADABLE, /* too few good shares are left */
    CTL_VERDICT_GONE,       /* no such file any more */
};
#define CTL_VERIFY_FILES 400u /* at most, in one request */

struct ctl_request {
    enum ctl_verb verb;
    uint64_t number;
    struct c2_slice text, text2; /* borrowed from the frame */
};

void ctl_request_encode(const struct ctl_request *r, struct c2_buf *out);
/* VERSION for another version of the protocol; UNSUPPORTED for an unknown verb. */
C2_RESULT ctl_request_decode(struct c2_slice frame, struct ctl_request *ret_request);

enum ctl_answer_kind { CTL_PROGRESS = 1, CTL_RESULT = 2 };

struct ctl_answer {
    enum ctl_answer_kind kind;
    uint64_t files, bytes;         /* PROGRESS: what is left */
    enum c2_err err;               /* RESULT */
    struct c2_slice message, body; /* RESULT; borrowed from the frame */
};

void ctl_answer_encode(const struct ctl_answer *a, struct c2_buf *out);
C2_RESULT ctl_answer_decode(struct c2_slice frame, struct ctl_answer *ret_answer);

struct ctl_provider {
    char name[CTL_NAME_MAX + 1];
    uint32_t seat;
    char state[CTL_NAME_MAX + 1]; /* "online" "degraded" "unreachable" "suspect" "empty" */
    uint64_t puts_ok, gets_ok, errors, absent, corrupt, hedges;
    char last_error[CTL_NAME_MAX + 1]; /* "" = none */
    char last_detail[160];
    uint64_t last_ok_age_ns; /* UINT64_MAX = never */
    uint64_t p50_ns, p99_ns;
    uint64_t requests[CTL_VERBS_MAX]; /* by prov_verb */
    uint64_t bytes_up, bytes_down;
};

struct ctl_counter {
    char name[CTL_NAME_MAX + 1];
    uint64_t value;
};

/* See fs/job.h. */
struct ctl_job {
    char kind[CTL_NAME_MAX + 1];
    char state[CTL_NAME_MAX + 1]; /* "running" "paused" "done" "failed" "canceled" */
    char params[1024];
    char message[256];
    char error[CTL_NAME_MAX + 1]; /* name, "" = none */
    uint64_t id;
    uint64_t started_wall_ns, ended_wall_ns, run_ns;
    uint64_t objects_done, objects_total; /* total 0 = not known */
    uint64_t bytes_done, bytes_total;
    uint64_t errors;
    uint64_t rate, rate_limit; /* bytes per second */
    uint64_t spent;            /* bytes moved */
    uint32_t ncounters;
    struct ctl_counter counters[CTL_JOB_COUNTERS_MAX];
};

/* Of the coordination service. */
struct ctl_replica {
    char address[2 * CTL_NAME_MAX + 1];
    bool up;                           /* connected */
    char last_error[CTL_NAME_MAX + 1]; /* why it was not, last; "" = none */
};

struct ctl_status {
    char volume[CTL_NAME_MAX + 1];
    char version[CTL_NAME_MAX + 1];
    char mountpoint[CTL_TEXT_MAX];
    char metadata[CTL_TEXT_MAX];
    uint64_t pid;
    uint64_t uptime_ns;
    uint32_t n, f;
    bool draining, fenced, read_only;
    uint64_t backlog_files, backlog_bytes, backlog_oldest_ns;
    uint64_t journal_used, journal_max;
    uint64_t txgs, txgs_committed;
    uint64_t objects_written, object_bytes, stored_bytes;
    uint64_t used_bytes, used_files;
    uint64_t write_buffer; /* bytes in memory */
    uint64_t cache_memory, cache_memory_max, cache_disk, cache_disk_max;
    uint64_t replayed_groups, replayed_bytes, damaged_groups;
    uint64_t lost_files; /* data in them was lost in the journal, found since the mount began */
    bool ships;          /* metadata = local: the log goes to the clouds */
    uint64_t unshipped_txns, unshipped_bytes, unshipped_oldest_ns;
    uint64_t checkpoint_version, checkpoint_wall_ns;
    bool gc_on;                                    /* garbage is collected in the background */
    uint64_t gc_last_wall_ns, gc_rounds;           /* 0 = none since the mount */
    uint64_t gc_waiting_objects, gc_waiting_bytes; /* unused, not deleted yet */
    uint64_t gc_deleted_objects, gc_deleted_bytes; /* since the mount */
    uint64_t gc_orphans_deleted;
    uint64_t compact_files, compact_bytes; /* rewritten since the mount */
    char gc_error[CTL_NAME_MAX + 1];       /* of the last round, "" = it was complete */
    char lost[200];                        /* their names, the first ones */
    uint64_t repair_objects;               /* that have lost shares, as far as is known */
    uint64_t repair_at_risk; /* of them: the loss of one more share would make them unreadable */
    uint64_t repair_running; /* of them: being mended */
    uint64_t shares_missing; /* lost ones of these objects */
    uint64_t repairs_total;  /* shares rebuilt since the mount began */
    uint64_t repairs_failed; /* objects that stayed below their goal when it was their turn */
    uint64_t deferred_files; /* changed before the last crash; their extents are not here yet */
    char deferred[80];       /* the name of one */
    char damage[200];        /* of the journal at the last start, "" = none */
    char last_error[CTL_NAME_MAX + 1]; /* of the latest upload or commit, "" = it succeeded */
    char journal_error[80];            /* why the journal cannot be written, "" = it can */
    uint32_t nproviders;
    struct ctl_provider providers[CTL_PROVIDERS_MAX];
    uint32_t replica_f; /* so many may fail */
    uint64_t view;
    uint32_t nreplicas; /* 0: metadata = local: */
    struct ctl_replica replicas[CTL_REPLICAS_MAX];
    uint32_t njobs;
    struct ctl_job jobs[CTL_JOBS_MAX];
    char conflicts[1024]; /* c2fsctl's own, not sent: journals that were set aside, a line each */
};

/* Should have data and is not "online". */
bool ctl_provider_is_bad(const struct ctl_provider *p);

/* Replicas that are not connected. */
unsigned ctl_replicas_down(const struct ctl_status *s);

void ctl_status_encode(const struct ctl_status *s, struct c2_buf *out);
C2_RESULT ctl_status_decode(struct c2_slice in, struct ctl_status *ret_status);

void ctl_job_encode(const struct ctl_job *j, struct c2_buf *out);
/* Up to the end of `in`; more than max is an error. */
C2_RESULT ctl_jobs_decode(struct c2_slice in, struct ctl_job *jobs, uint32_t max, uint32_t *ret_n);

/* How the programs end (interface: exit codes of c2fsctl and c2fs). */
enum ctl_exit {
    CTL_EXIT_OK = 0,
    CTL_EXIT_FAILED = 1,
    CTL_EXIT_USAGE = 2,
    CTL_EXIT_CONFIG = 3,
    CTL_EXIT_NOT_FOUND = 4,
    CTL_EXIT_UNAVAILABLE = 5,
    CTL_EXIT_DEGRADED = 6,
    CTL_EXIT_REPAIRED = 7,
    CTL_EXIT_DATA_LOST = 8,
    CTL_EXIT_ACCESS = 9,
    CTL_EXIT_CONFLICT = 10,
    CTL_EXIT_REFUSED = 11,
    CTL_EXIT_PENDING = 12,
    CTL_EXIT_VERSION = 13,
    CTL_EXIT_INTERRUPTED = 130,
};

enum ctl_exit ctl_exit_code(enum c2_err err);
/* "E_NOT_FOUND": how c2fs-errors(7) lists them. */
#define CTL_CODE_MAX 48
void ctl_error_code(enum c2_err err, char out[CTL_CODE_MAX]);
/* An error text may end in "\nhint: ..." or "; type: ...": cuts it there. Returns the hint, or NULL
 * when there is none. */
char *ctl_split_hint(char *text);

/* Copies text into a fixed field of a status, cut to fit. */
void ctl_set(char *field, size_t size, const char *text);

/* Counters: fn gets each one in order. */
void ctl_counter_add(struct c2_buf *out, const char *name, uint64_t value);
C2_RESULT ctl_counters_decode(struct c2_slice in,
                              void (*fn)(void *arg, const char *name, uint64_t value), void *arg);

#endif
