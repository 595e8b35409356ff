/* SPDX-License-Identifier: MIT */
/*
 * c2sim [SEED [COUNT]] [--trace] [--only depsky|unit|fs|bft|trap] [--report BATCHES] : COUNT
 * simulated runs from SEED on.
 *
 * Every seed runs in a child process (two or more of them, one per CPU), so that an assertion or a
 * sanitizer ends one seed and not the others; so does a seed that uses the processor for minutes
 * (SIGVTALRM). A failed seed is printed with the command that replays it; --first: the first one
 * ends it all. --regressions FILE: one seed per line, with a scenario after it. --report: says what
 * happened in runs of the replicated service, and demands so many batches and every kind of fault.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/base.h"
#include "base/crypto.h"
#include "base/log.h"
#include "base/mark.h"
#include "tests/lib/test_env.h"
#include "tests/sim/report.h"
#include "tests/sim/scene.h"

#define WORKERS_MAX   16
#define FAILURES_MAX  20
#define REPLAYS_MAX   4096
#define SEEDS_DEFAULT 2000
#define SEED_CPU_S    60

struct scenario {
    const char *name;
    void (*run)(uint64_t seed, const struct sim_options *o, struct sim_tally *tally);
    unsigned every; /* of so many seeds one, unless the scenario was asked for */
};

static const struct scenario scenarios[] = {
    { "depsky", sim_scene_depsky, 1 }, { "unit", sim_scene_unit, 2 },  { "fs", sim_scene_fs, 1 },
    { "bft", sim_scene_bft, 10 },      { "trap", sim_scene_trap, 31 }, /* all 45 in 1395 seeds */
};

struct run {
    uint64_t seed;
    const struct scenario *only; /* NULL = all */
};

struct options {
    uint64_t seed, count;
    struct sim_options sim;
    bool no_fork, first, report;
    uint64_t batches_min;
    const struct scenario *only;
    const char *regressions;
    struct run replay[REPLAYS_MAX];
    size_t nreplays;
};

/* Shared with the children: what each works on, what it has seen. */
struct slot {
    uint64_t index;
    const struct scenario *scenario;
    struct sim_tally tally;
    struct sim_report report;
};

static const struct scenario *
scenario_named(const char *name)
{
    for (size_t i = 0; i < C2_ARRAY_LEN(scenarios); i++) {
        if (strcmp(name, scenarios[i].name) == 0)
            return &scenarios[i];
    }
    fprintf(stderr, "c2sim: no scenario \"%s\"\n", name);
    exit(2);
}

static uint64_t
total(const struct options *o)
{
    return o->nreplays + o->count;
}

static struct run
run_at(const struct options *o, uint64_t index)
{
    if (index < o->nreplays)
        return o->replay[index];
    return (struct run){ o->seed + (index - o->nreplays), o->only };
}

static void
run_one(const struct options *o, uint64_t index, struct slot *slot)
{
    struct run r = run_at(o, index);
    const struct itimerval limit = { .it_value.tv_sec = SEED_CPU_S };
    if (!o->no_fork)
        (void)setitimer(ITIMER_VIRTUAL, &limit, NULL);
    for (size_t i = 0; i < C2_ARRAY_LEN(scenarios); i++) {
        if (r.only != NULL ? r.only != &scenarios[i] : r.seed % scenarios[i].every != 0)
            continue;
        slot->scenario = &scenarios[i];
        scenarios[i].run(r.seed, &o->sim, &slot->tally);
    }
}

static pid_t
start_worker(const struct options *o, struct slot *slot, unsigned stride)
{
    fflush(NULL);
    c2_mark_reset();
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    for (; slot->index < total(o); slot->index += stride)
        run_one(o, slot->index, slot);
    sim_report_add(&slot->report);
    fflush(stdout);
    exit(0);
}

static void
report(const struct options *o, const struct slot *slot, int status)
{
    struct run r = run_at(o, slot->index);
    const char *name = slot->scenario != NULL ? slot->scenario->name : "?";
    fprintf(stderr,
            "c2sim: seed %llu FAILED in %s (%s %d)\n  replay: c2sim %llu 1 --only %s --trace\n",
            (unsigned long long)r.seed, name, WIFSIGNALED(status) ? "signal" : "exit",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
            (unsigned long long)r.seed, name);
}

static uint64_t
struck(const struct slot *slots, unsigned n, enum sim_fault f)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < n; i++)
        sum += slots[i].tally.struck[f];
    return sum;
}

/* Every kind of fault that belongs to one of T01 to T15. Returns how many never struck. */
static uint64_t
check_threats(const struct slot *slots, unsigned n)
{
    uint64_t missing = 0;
    for (unsigned t = 0; t < FAULT_THREATS; t++) {
        unsigned left = fault_threat_kinds(t);
        for (unsigned f = 0; f < SIM_FAULTS; f++) {
            enum fault_kind kind = sim_fault_kind((enum sim_fault)f);
            if (kind < FAULT_KIND_COUNT && struck(slots, n, (enum sim_fault)f) > 0)
                left &= ~(1u << kind);
        }
        if (left != 0)
            fprintf(stderr, "c2sim: %s (%s) never struck\n", fault_threats[t].name,
                    fault_threats[t].what);
        missing += left != 0;
    }
    return missing;
}

/* A full run in which a fault never struck or a branch was never taken tests less than it says.
 * Returns the number of those. */
static uint64_t
check_tally(const struct options *o, const struct slot *slots, unsigned n)
{
    uint64_t events = 0;
    uint64_t batches = 0;
    uint64_t missing = check_threats(slots, n);
    for (unsigned f = 0; f < SIM_FAULTS; f++) {
        bool never = struck(slots, n, (enum sim_fault)f) == 0;
        if (never)
            fprintf(stderr, "c2sim: fault \"%s\" never struck\n",
                    sim_fault_name((enum sim_fault)f));
        missing += never;
    }
    struct sim_report sum = { 0 };
    for (unsigned i = 0; i < n; i++)
        sim_report_join(&sum, &slots[i].report);
    missing += sim_report_check(&sum);
    for (unsigned i = 0; i < n; i++) {
        events += slots[i].tally.events;
        batches += slots[i].tally.batches;
    }
    printf("c2sim: %llu events, %llu batches\n", (unsigned long long)events,
           (unsigned long long)batches);
    return o->only == NULL && o->count >= SEEDS_DEFAULT ? missing : 0;
}

static uint64_t
clock_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * C2_NS_PER_S + (uint64_t)t.tv_nsec;
}

/* Returns what is missing. */
static uint64_t
print_report(const struct options *o, const struct slot *slots, unsigned n, uint64_t elapsed_ns)
{
    struct sim_report sum = { 0 };
    struct sim_tally tally = { 0 };
    for (unsigned i = 0; i < n; i++) {
        sim_report_join(&sum, &slots[i].report);
        tally.events += slots[i].tally.events;
        tally.batches += slots[i].tally.batches;
    }
    return sim_report_print(&sum, &tally, total(o), elapsed_ns, o->batches_min);
}

/* Returns the number of failed seeds. */
static uint64_t
run_workers(const struct options *o)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    unsigned n = (unsigned)C2_MIN(C2_MAX(cpus, 1), WORKERS_MAX);
    n = (unsigned)C2_MIN((uint64_t)n, total(o));
    struct slot *slots = mmap(NULL, WORKERS_MAX * sizeof *slots, PROT_READ | PROT_WRITE,
                              MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    C2_ASSERT(slots != MAP_FAILED);
    pid_t pids[WORKERS_MAX] = { 0 };
    uint64_t failed = 0;
    uint64_t began_ns = clock_ns();
    for (unsigned i = 0; i < n; i++) {
        slots[i].index = i;
        pids[i] = start_worker(o, &slots[i], n);
    }
    for (unsigned running = n; running > 0;) {
        int status = 0;
        pid_t pid = wait(&status);
        if (pid < 0 && errno == EINTR)
            continue;
        C2_ASSERT(pid > 0);
        unsigned i = 0;
        while (i < n && pids[i] != pid)
            i++;
        C2_ASSERT(i < n);
        running--;
        if (status == 0)
            continue;
        bool more = slots[i].index < total(o);
        if (more)
            report(o, &slots[i], status);
        else
            fprintf(stderr, "c2sim: a worker failed after its last seed (leak?)\n");
        failed++;
        slots[i].index += n;
        if (more && slots[i].index < total(o) && failed < (o->first ? 1 : FAILURES_MAX)) {
            pids[i] = start_worker(o, &slots[i], n);
            running++;
        }
    }
    if (o->report)
        failed += print_report(o, slots, n, clock_ns() - began_ns);
    else if (failed == 0 && o->count > 1)
        failed = check_tally(o, slots, n);
    munmap(slots, WORKERS_MAX * sizeof *slots);
    return failed;
}

/* "SEED SCENARIO # what it was" */
static void
read_regressions(struct options *o)
{
    char line[512], name[32];
    FILE *f = fopen(o->regressions, "re");
    if (f == NULL) {
        fprintf(stderr, "c2sim: cannot read %s\n", o->regressions);
        exit(2);
    }
    while (fgets(line, sizeof line, f) != NULL) {
        char *rest = line;
        uint64_t seed = strtoull(line, &rest, 10);
        if (rest == line || sscanf(rest, "%31s", name) != 1)
            continue;
        C2_ASSERT(o->nreplays < REPLAYS_MAX);
        o->replay[o->nreplays++] = (struct run){ seed, scenario_named(name) };
    }
    fclose(f);
}

static void
parse(int argc, char **argv, struct options *o)
{
    int numbers = 0;
    o->seed = 1;
    o->count = SEEDS_DEFAULT;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--trace") == 0) {
            o->sim.trace = true;
        } else if (strcmp(argv[i], "--first") == 0) {
            o->first = true;
        } else if (strcmp(argv[i], "--no-fork") == 0) {
            o->no_fork = true;
        } else if (strcmp(argv[i], "--report") == 0 && i + 1 < argc) {
            o->report = true;
            o->batches_min = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--only") == 0 && i + 1 < argc) {
            o->only = scenario_named(argv[++i]);
        } else if (strcmp(argv[i], "--regressions") == 0 && i + 1 < argc) {
            o->regressions = argv[++i];
        } else if (argv[i][0] != '-' && numbers < 2) {
            uint64_t value = strtoull(argv[i], NULL, 10);
            *(numbers == 0 ? &o->seed : &o->count) = value;
            if (numbers++ == 0)
                o->count = 1;
        } else {
            fprintf(stderr, "usage: c2sim [SEED [COUNT]] [--only SCENARIO] [--trace] "
                            "[--regressions FILE] [--first] [--no-fork] [--report BATCHES]\n");
            exit(2);
        }
    }
}

int
main(int argc, char **argv)
{
    static struct options o;
    parse(argc, argv, &o);
    if (o.regressions != NULL)
        read_regressions(&o);
    if (c2_crypto_init() != C2_E_OK)
        return 2;
    /* Misbehaving clouds make the product complain: only a trace shows it. */
    if (o.sim.trace)
        setvbuf(stdout, NULL, _IOLBF, 0);
    else if (c2_log_to_file("/dev/null") != C2_E_OK)
        return 2;
    c2_log_set_level(o.sim.trace ? C2_LOG_DEBUG : C2_LOG_ERROR);
    /* What the library keeps per thread must not become the memory of a node. */
    uint8_t sum[C2_SHA256_LEN];
    c2_sha256(c2_slice(NULL, 0), sum);
    char dir[] = "/dev/shm/c2sim-XXXXXX";
    char fallback[] = "/tmp/c2sim-XXXXXX";
    o.sim.dir = mkdtemp(dir) != NULL ? dir : mkdtemp(fallback);
    C2_ASSERT(o.sim.dir != NULL);
    uint64_t failed = 0;
    if (o.no_fork) {
        struct slot slot = { 0 };
        for (uint64_t i = 0; i < total(&o); i++)
            run_one(&o, i, &slot);
    } else {
        failed = run_workers(&o);
    }
    test_disk_remove_tree(o.sim.dir);
    printf("c2sim: %llu runs, %llu passed, %llu failed, 0 skipped\n", (unsigned long long)total(&o),
           (unsigned long long)(total(&o) - failed), (unsigned long long)failed);
    return failed > 0;
}
