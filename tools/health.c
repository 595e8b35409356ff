/* SPDX-License-Identifier: MIT */
#include "tools/health.h"

#include <stdio.h>
#include <string.h>

#include "base/env.h"
#include "base/str.h"

#define DEFERRED_NS (60 * C2_NS_PER_S)

const char *
health_name(enum health_state s)
{
    static const char *const names[] = { "ONLINE", "DEGRADED", "FAULTED" };
    return names[s];
}

enum ctl_exit
health_exit(enum health_state s)
{
    switch (s) {
    case HEALTH_ONLINE:
        return CTL_EXIT_OK;
    case HEALTH_DEGRADED:
        return CTL_EXIT_DEGRADED;
    case HEALTH_FAULTED:
        break;
    }
    return CTL_EXIT_UNAVAILABLE;
}

static const char *
problem_of(const struct ctl_provider *p)
{
    if (strcmp(p->state, "offline") == 0)
        return "is offline; 'c2fsctl provider online' uses it again";
    if (strcmp(p->state, "rebuilding") == 0)
        return "is new and does not have all its shares yet";
    if (strcmp(p->state, "readonly") == 0)
        return "refuses to store more; what it has can be read";
    if (strcmp(p->state, "suspect") == 0)
        return "returned bytes that fail verification";
    if (strcmp(p->state, "degraded") == 0)
        return p->absent > 0 ? "lacks shares that it should have" : "answers with errors";
    return "does not answer";
}

/* The name of a provider among the parameters of a job ("old=a new=b"), "" = none. */
static void
param(const struct ctl_job *j, const char *key, char name[CTL_NAME_MAX + 1])
{
    const char *at = strstr(j->params, key);
    size_t len = at == NULL ? 0 : strcspn(at + strlen(key), " ");
    len = C2_MIN(len, (size_t)CTL_NAME_MAX);
    if (len > 0)
        memcpy(name, at + strlen(key), len);
    name[len] = '\0';
}

/* One that came into another's place, and whatever brings it its shares. */
static void
rebuilding(const struct ctl_status *s, const struct ctl_provider *p, struct health *h)
{
    const struct ctl_job *job = NULL;
    char old[CTL_NAME_MAX + 1] = "", new[CTL_NAME_MAX + 1] = "";
    for (uint32_t k = 0; k < s->njobs; k++)
        if (strcmp(s->jobs[k].kind, "replace") == 0)
            job = &s->jobs[k];
    (void)snprintf(h->sentence, sizeof(h->sentence),
                   "Provider '%s' %s. All data can be read and written.", p->name, problem_of(p));
    if (job != NULL) {
        param(job, "old=", old);
        param(job, "new=", new);
    }
    if (job != NULL && strcmp(job->state, "running") == 0)
        (void)snprintf(h->action, sizeof(h->action),
                       "wait: 'c2fsctl job watch replace' shows how far it is.");
    else if (job != NULL && strcmp(job->state, "paused") == 0)
        (void)snprintf(h->action, sizeof(h->action),
                       "'c2fsctl job resume replace' lets the replacement go on.");
    else if (strcmp(new, p->name) == 0 && old[0] != '\0')
        (void)snprintf(
            h->action, sizeof(h->action),
            "its replacement does not run: 'c2fsctl provider replace %s %s' goes on with "
            "it, 'c2fsctl provider replace %s %s' takes it back.",
            old, new, new, old);
    else
        (void)snprintf(h->action, sizeof(h->action),
                       "its replacement does not run: give the 'c2fsctl provider replace' that "
                       "began it again.");
}

static void
one_provider(const struct ctl_status *s, const struct ctl_provider *p, struct health *h)
{
    bool lost = p->absent > 0 || p->corrupt > 0;
    if (strcmp(p->state, "rebuilding") == 0) {
        rebuilding(s, p, h);
        return;
    }
    (void)snprintf(h->sentence, sizeof(h->sentence),
                   "Provider '%s' %s. All data can be read and written%s.", p->name, problem_of(p),
                   lost ? ", but what it lacks would not survive the loss of another one"
                        : "; new data goes to the other providers");
    if (strcmp(p->state, "readonly") == 0)
        (void)snprintf(h->action, sizeof(h->action),
                       "see what it says below, and give it space, a larger quota or the right to "
                       "write; it is tried again every minute. 'c2fsctl provider test %s' says "
                       "whether it works now.",
                       p->name);
    else if (lost)
        (void)snprintf(h->action, sizeof(h->action),
                       "find out what happened to its bucket, and leave the other providers as "
                       "they are; 'c2fsctl provider test %s' says whether it works now, "
                       "'c2fsctl repair' brings back what it lacks, 'c2fsctl provider evidence %s' "
                       "shows what it gave instead.",
                       p->name, p->name);
    else
        (void)snprintf(h->action, sizeof(h->action),
                       "see what it says with 'c2fsctl provider test %s'. If it is a passing "
                       "outage, nothing needs to be done.",
                       p->name);
}

/* More providers are bad than the volume tolerates. */
static void
too_many(const struct ctl_status *s, struct health *h)
{
    (void)snprintf(h->sentence, sizeof(h->sentence),
                   "%u of %u providers fail, %u can be tolerated. What is not cached may be "
                   "unreadable; what is written waits in the local journal.",
                   h->failing, s->n, s->f);
    (void)snprintf(h->action, sizeof(h->action),
                   "find out why with 'c2fsctl provider test', do not delete anything, and keep "
                   "this machine's cache folder: it holds what is not uploaded yet.");
}

/* Everything can be read, but a write needs more providers than take it. */
static void
writes_wait(const struct ctl_status *s, unsigned refusing, struct health *h)
{
    (void)snprintf(h->sentence, sizeof(h->sentence),
                   "%u of %u providers store nothing more, %u can be tolerated. Everything can be "
                   "read; what is written waits in the local journal.",
                   refusing, s->n, s->f);
    (void)snprintf(h->action, sizeof(h->action),
                   "give them space, a larger quota or the right to write; what each says is "
                   "below, and 'c2fsctl provider test' says whether they work now.");
}

/* They should have been read within seconds. */
static void
deferred_files(const struct ctl_status *s, struct health *h)
{
    (void)snprintf(h->sentence, sizeof(h->sentence),
                   "The extents of %llu files that were changed before the last crash cannot be "
                   "read from the providers (%s). Uploads wait for them; what is written waits in "
                   "the local journal.",
                   (unsigned long long)s->deferred_files, s->deferred);
    (void)snprintf(h->action, sizeof(h->action),
                   "find out why with 'c2fsctl provider test'; if the providers have lost that "
                   "file for good, delete it, and everything else goes on.");
}

/* The journal had the only copy, and the disk does not give it back. */
static void
lost_files(const struct ctl_status *s, struct health *h)
{
    (void)snprintf(h->sentence, sizeof(h->sentence),
                   "The local disk has damaged the journal: data of %llu files is lost (%s). "
                   "Everything else goes on.",
                   (unsigned long long)s->lost_files, s->lost);
    (void)snprintf(h->action, sizeof(h->action),
                   "copy these files again (getfattr -n user.c2fs.state says \"failed\" until "
                   "then), and check the disk of the cache folder.");
}

/* close and fsync fail, and programs wonder. */
static void
journal_fails(const struct ctl_status *s, struct health *h)
{
    (void)snprintf(h->sentence, sizeof(h->sentence),
                   "The local journal cannot be written (%s): close and fsync of files fail. What "
                   "is in memory is still uploaded, and a crash would lose it until then.",
                   s->journal_error);
    (void)snprintf(h->action, sizeof(h->action),
                   "make room on the disk of the cache folder (cache_dir), or see what is wrong "
                   "with it; the mount goes on by itself then.");
}

/* Known to have lost shares; what is at risk is still readable. */
static void
lost_shares(const struct ctl_status *s, struct health *h)
{
    (void)snprintf(h->sentence, sizeof(h->sentence),
                   "%llu objects have lost %llu shares. %llu of them would not survive the loss of "
                   "another one.",
                   (unsigned long long)s->repair_objects, (unsigned long long)s->shares_missing,
                   (unsigned long long)s->repair_at_risk);
    (void)snprintf(h->action, sizeof(h->action),
                   "they are repaired by themselves after repair_delay (unless repair = manual); "
                   "'c2fsctl repair' does it now.");
}

/* The latest scrub or repair, when it left objects below their goal. */
static const struct ctl_job *
scan_with_errors(const struct ctl_status *s)
{
    const struct ctl_job *latest = NULL;
    for (uint32_t k = 0; k < s->njobs; k++) {
        const struct ctl_job *j = &s->jobs[k];
        bool scans = strcmp(j->kind, "scrub") == 0 || strcmp(j->kind, "repair") == 0;
        if (scans && strcmp(j->state, "done") == 0 &&
            (latest == NULL || j->ended_wall_ns > latest->ended_wall_ns))
            latest = j;
    }
    return latest != NULL && latest->errors > 0 ? latest : NULL;
}

static void
below_goal(const struct ctl_job *j, struct health *h)
{
    (void)snprintf(h->sentence, sizeof(h->sentence), "The last %s says: %s.", j->kind, j->message);
    (void)snprintf(h->action, sizeof(h->action),
                   "'c2fsctl repair' rebuilds what it can and looks again; 'c2fsctl scrub report' "
                   "says where it is missing.");
}

/* Metadata waits for more replicas than answer. */
static void
too_few_replicas(const struct ctl_status *s, struct health *h)
{
    (void)snprintf(h->sentence, sizeof(h->sentence),
                   "%u of %u replicas of the coordination service are not connected, %u can be "
                   "tolerated. What is cached can be used; what is written waits in the local "
                   "journal.",
                   ctl_replicas_down(s), s->nreplicas, s->replica_f);
    (void)snprintf(h->action, sizeof(h->action),
                   "find out why with 'c2fsctl meta status', and start the replicas again; they "
                   "go on where they were.");
}

static void
some_replicas_down(const struct ctl_status *s, struct health *h)
{
    (void)snprintf(h->sentence, sizeof(h->sentence),
                   "%u of %u replicas of the coordination service are not connected. Nothing is "
                   "affected, but %u failures are all it tolerates.",
                   ctl_replicas_down(s), s->nreplicas, s->replica_f);
    (void)snprintf(h->action, sizeof(h->action),
                   "see what 'c2fsctl meta status' says, and start the replica again or replace "
                   "it.");
}

/* A late or failed answer of a provider that still serves what it has puts nothing out of reach. */
static bool
counts_against_f(const struct ctl_provider *p)
{
    bool answers = strcmp(p->state, "degraded") == 0 || strcmp(p->state, "readonly") == 0;
    bool serves = answers && p->absent == 0 && p->corrupt == 0;
    return ctl_provider_is_bad(p) && !serves;
}

static unsigned
refuse_writes(const struct ctl_status *s)
{
    unsigned count = 0;
    for (uint32_t k = 0; k < s->nproviders; k++)
        count +=
            strcmp(s->providers[k].state, "readonly") == 0 && !counts_against_f(&s->providers[k]);
    return count;
}

/* The one to tell about: the first that fails, else the first that is not online. */
static const struct ctl_provider *
worst_provider(const struct ctl_status *s, unsigned *ret_failing)
{
    const struct ctl_provider *failing = NULL, *bad = NULL;
    *ret_failing = 0;
    for (uint32_t k = s->nproviders; k-- > 0;) {
        if (ctl_provider_is_bad(&s->providers[k]))
            bad = &s->providers[k];
        if (!counts_against_f(&s->providers[k]))
            continue;
        failing = &s->providers[k];
        ++*ret_failing;
    }
    return failing != NULL ? failing : bad;
}

void
health_of(const struct ctl_status *s, struct health *ret_health)
{
    struct health h = { .state = HEALTH_ONLINE };
    const struct ctl_provider *first = worst_provider(s, &h.failing);
    unsigned refusing = h.failing + refuse_writes(s);
    const struct ctl_job *scan;
    if (s->fenced) {
        h.state = HEALTH_FAULTED;
        (void)snprintf(h.sentence, sizeof(h.sentence),
                       "This mount has lost its session: another one may be active. It is "
                       "read-only now, nothing that was committed is affected.");
        (void)snprintf(h.action, sizeof(h.action),
                       "unmount with 'c2fsctl umount', make sure that no other machine has the "
                       "volume mounted, and mount it again.");
    } else if (h.failing > s->f) {
        h.state = HEALTH_FAULTED;
        too_many(s, &h);
    } else if (refusing > s->f && refusing > h.failing) {
        h.state = HEALTH_FAULTED;
        writes_wait(s, refusing, &h);
    } else if (s->deferred_files > 0 && s->uptime_ns > DEFERRED_NS) {
        h.state = HEALTH_FAULTED;
        deferred_files(s, &h);
    } else if (s->lost_files > 0) {
        h.state = HEALTH_FAULTED;
        lost_files(s, &h);
    } else if (s->journal_error[0] != '\0') {
        h.state = HEALTH_FAULTED;
        journal_fails(s, &h);
    } else if (ctl_replicas_down(s) > s->replica_f) {
        h.state = HEALTH_FAULTED;
        too_few_replicas(s, &h);
    } else if (first != NULL) {
        h.state = HEALTH_DEGRADED;
        one_provider(s, first, &h);
    } else if (s->repair_objects > 0) {
        h.state = HEALTH_DEGRADED;
        lost_shares(s, &h);
    } else if ((scan = scan_with_errors(s)) != NULL) {
        h.state = HEALTH_DEGRADED;
        below_goal(scan, &h);
    } else if (ctl_replicas_down(s) > 0) {
        h.state = HEALTH_DEGRADED;
        some_replicas_down(s, &h);
    } else if (s->damaged_groups > 0) {
        h.state = HEALTH_DEGRADED;
        (void)snprintf(h.sentence, sizeof(h.sentence),
                       "Part of the local journal could not be read when the volume was mounted: "
                       "%llu groups of changes are damaged (%s).",
                       (unsigned long long)s->damaged_groups, s->damage);
        (void)snprintf(h.action, sizeof(h.action),
                       "check the disk of the cache folder, and copy the files again that were "
                       "written last before the crash.");
    } else {
        (void)snprintf(h.sentence, sizeof(h.sentence), "All %u providers answer.", s->nproviders);
    }
    *ret_health = h;
}
