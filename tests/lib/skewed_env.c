/* SPDX-License-Identifier: MIT */
#include "tests/lib/skewed_env.h"

static struct skewed_env *
from_env(struct c2_env *e)
{
    return C2_CONTAINER_OF(e, struct skewed_env, env);
}

static uint64_t
skewed_now_ns(struct c2_env *e)
{
    return c2_now_ns(from_env(e)->inner);
}

static uint64_t
skewed_wall_ns(struct c2_env *e)
{
    return c2_wall_ns(from_env(e)->inner) + (uint64_t)from_env(e)->ahead_ns;
}

static void
skewed_random(struct c2_env *e, void *out, size_t len)
{
    c2_random(from_env(e)->inner, out, len);
}

static void
skewed_timer_arm(struct c2_env *e, struct c2_timer *t, uint64_t deadline_ns)
{
    c2_timer_arm(from_env(e)->inner, t, deadline_ns);
}

static void
skewed_timer_stop(struct c2_env *e, struct c2_timer *t)
{
    c2_timer_stop(from_env(e)->inner, t);
}

static void
skewed_defer(struct c2_env *e, struct c2_task *t)
{
    c2_defer(from_env(e)->inner, t);
}

static void
skewed_work(struct c2_env *e, struct c2_work *w)
{
    c2_work(from_env(e)->inner, w);
}

static void
skewed_disk(struct c2_env *e, struct c2_disk_req *r)
{
    c2_disk(from_env(e)->inner, r);
}

static const struct c2_env_ops skewed_ops = {
    .now_ns = skewed_now_ns,
    .wall_ns = skewed_wall_ns,
    .random = skewed_random,
    .timer_arm = skewed_timer_arm,
    .timer_stop = skewed_timer_stop,
    .defer = skewed_defer,
    .work = skewed_work,
    .disk = skewed_disk,
};

void
skewed_env_init(struct skewed_env *s, struct c2_env *inner)
{
    *s = (struct skewed_env){ .env = { .ops = &skewed_ops }, .inner = inner };
}
