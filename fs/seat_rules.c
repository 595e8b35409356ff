/* SPDX-License-Identifier: MIT */
/*
 * An object is in 2f+1 seats and readable from any f+1 of them. While one seat is not there, at
 * most f-1 of the others may be bad: else an object may have too few shares that can be read.
 */
#include "fs/seat_rules.h"

#include <string.h>

#include "base/alloc.h"
#include "base/conf.h"
#include "base/str.h"
#include "fs/volume_impl.h"

static C2_RESULT
find_seat(const struct volume *v, const char *name, unsigned *ret_seat, char **ret_error)
{
    const char *names[DS_SEATS_MAX];
    size_t n = 0;
    unsigned seat = volume_config_seat(&v->config, name);
    if (seat < v->config.n) {
        *ret_seat = seat;
        return C2_E_OK;
    }
    for (unsigned i = 0; i < v->config.n; i++)
        if (v->config.seats[i].state != VOLUME_SEAT_EMPTY)
            names[n++] = v->config.seats[i].provider;
    const char *near = c2_nearest(name, names, n);
    if (near != NULL)
        *ret_error = c2_asprintf("volume \"%s\" has no provider \"%s\"\nhint: did you mean \"%s\"?",
                                 v->name, name, near);
    else
        *ret_error = c2_asprintf("volume \"%s\" has no provider \"%s\"\n"
                                 "hint: c2fsctl provider list shows those it has",
                                 v->name, name);
    return C2_E_NOT_FOUND;
}

/* Something is being done with a seat already: one thing at a time. `but` = n: with any. */
static C2_RESULT
check_idle(const struct volume *v, unsigned but, char **ret_error)
{
    for (unsigned i = 0; i < v->config.n; i++) {
        const struct volume_seat *s = &v->config.seats[i];
        if (i == but || (s->state != VOLUME_SEAT_REBUILDING && s->state != VOLUME_SEAT_DRAINING))
            continue;
        if (s->state == VOLUME_SEAT_REBUILDING)
            *ret_error = c2_asprintf("provider \"%s\" is being replaced by \"%s\" at this time\n"
                                     "hint: c2fsctl provider replace %s %s goes on with it",
                                     s->old_provider, s->provider, s->old_provider, s->provider);
        else
            *ret_error = c2_asprintf("provider \"%s\" is being drained\n"
                                     "hint: c2fsctl provider drain %s goes on with it, c2fsctl "
                                     "provider online %s ends it",
                                     s->provider, s->provider, s->provider);
        return C2_E_BUSY;
    }
    return C2_E_OK;
}

static bool
is_bad(const struct volume *v, unsigned seat)
{
    struct ds_seat_status s;
    enum volume_seat_state state = v->config.seats[seat].state;
    if ((state != VOLUME_SEAT_ACTIVE && state != VOLUME_SEAT_DRAINING) ||
        (v->silent & (1u << seat)) != 0)
        return true;
    ds_seat_status(v->ds, seat, &s);
    return s.state == DS_SEAT_UNREACH || s.state == DS_SEAT_SUSPECT || s.state == DS_SEAT_EMPTY;
}

/* At most f-1 of the other seats are bad. */
static C2_RESULT
check_others(const struct volume *v, unsigned seat, const char *what, char **ret_error)
{
    const struct volume_config *c = &v->config;
    unsigned bad = 0, first = c->n;
    for (unsigned i = 0; i < c->n; i++) {
        if (i == seat || c->seats[i].state == VOLUME_SEAT_EMPTY || !is_bad(v, i))
            continue;
        first = bad == 0 ? i : first;
        bad++;
    }
    if (bad < c->f)
        return C2_E_OK;
    const char *other = c->seats[first].provider;
    if (c->seats[first].state == VOLUME_SEAT_OFFLINE)
        *ret_error = c2_asprintf("%s while \"%s\" is offline would leave data that cannot be read\n"
                                 "hint: first c2fsctl provider online %s",
                                 what, other, other);
    else
        *ret_error = c2_asprintf("%s while \"%s\" does not work would leave data that cannot be "
                                 "read\nhint: first c2fsctl provider test %s, and if it is lost "
                                 "c2fsctl provider replace %s NEW",
                                 what, other, other, other);
    return C2_E_PRECONDITION;
}

static C2_RESULT
check_new(const struct volume *v, const char *name, char **ret_error)
{
    const struct volume_config *c = &v->config;
    if (!c2_conf_has_section(v->conf, "provider", name)) {
        *ret_error = c2_asprintf("the configuration has no [provider \"%s\"]\n"
                                 "hint: c2fsctl provider add %s URL makes one and puts it into a "
                                 "spare seat; or write the section and repeat this command",
                                 name, name);
        return C2_E_CONFIG;
    }
    if (volume_config_seat(c, name) < c->n) {
        *ret_error = c2_asprintf("provider \"%s\" belongs to the volume already\n"
                                 "hint: c2fsctl provider list shows who does; c2fsctl provider "
                                 "drain NAME moves what one of them has to the others",
                                 name);
        return C2_E_EXISTS;
    }
    for (unsigned i = 0; i < c->n; i++) {
        const char *other = c->seats[i].provider;
        if (c->seats[i].state == VOLUME_SEAT_EMPTY ||
            !c2_conf_has_section(v->conf, "provider", other) ||
            !volume_same_place(v->conf, other, name))
            continue;
        *ret_error = c2_asprintf("providers \"%s\" and \"%s\" are the same place: they would be "
                                 "lost together\nhint: use a bucket of another company, or another "
                                 "folder",
                                 other, name);
        return C2_E_CONFIG;
    }
    return C2_E_OK;
}

C2_RESULT
seat_may_replace(const struct volume *v, const char *old, const char *new, unsigned *ret_seat,
                 char **ret_error)
{
    const struct volume_config *c = &v->config;
    unsigned seat;
    for (unsigned i = 0; i < c->n; i++) {
        const struct volume_seat *s = &c->seats[i];
        if (s->state != VOLUME_SEAT_REBUILDING || strcmp(s->old_provider, old) != 0)
            continue;
        *ret_seat = i;
        return strcmp(s->provider, new) == 0 ? C2_E_OK : check_new(v, new, ret_error);
    }
    C2_TRY(find_seat(v, old, &seat, ret_error));
    C2_TRY(check_idle(v, seat, ret_error));
    C2_TRY(check_new(v, new, ret_error));
    char *what = c2_asprintf("to replace \"%s\"", old);
    enum c2_err err = check_others(v, seat, what, ret_error);
    c2_free(what);
    *ret_seat = seat;
    return err;
}

C2_RESULT
seat_may_leave(const struct volume *v, const char *name, bool remove, unsigned *ret_seat,
               char **ret_error)
{
    const struct volume_config *c = &v->config;
    unsigned seat, active = 0, least = 3 * c->f + 1;
    C2_TRY(find_seat(v, name, &seat, ret_error));
    C2_TRY(check_idle(v, seat, ret_error));
    for (unsigned i = 0; i < c->n; i++)
        active += i != seat && c->seats[i].state == VOLUME_SEAT_ACTIVE;
    if (active < (remove ? least : 2 * c->f + 1)) {
        *ret_error =
            c2_asprintf("without \"%s\" the volume would have %u providers, and to survive "
                        "%u faulty one%s it needs %u\nhint: c2fsctl provider replace %s "
                        "NEW puts another one in its place",
                        name, active, c->f, c->f == 1 ? "" : "s", least, name);
        return C2_E_PRECONDITION;
    }
    char *what = c2_asprintf("to take \"%s\" out", name);
    enum c2_err err = check_others(v, seat, what, ret_error);
    c2_free(what);
    *ret_seat = seat;
    return err;
}

C2_RESULT
seat_may_purge(const struct volume *v, const char *name, char **ret_error)
{
    const struct volume_config *c = &v->config;
    if (!c2_conf_has_section(v->conf, "provider", name)) {
        *ret_error = c2_asprintf("the configuration has no [provider \"%s\"]", name);
        return C2_E_NOT_FOUND;
    }
    for (unsigned i = 0; i < c->n; i++) {
        const struct volume_seat *s = &c->seats[i];
        bool former = s->state == VOLUME_SEAT_REBUILDING && strcmp(s->old_provider, name) == 0;
        bool owner = s->state != VOLUME_SEAT_EMPTY && strcmp(s->provider, name) == 0;
        bool same = s->state != VOLUME_SEAT_EMPTY && !owner &&
                    c2_conf_has_section(v->conf, "provider", s->provider) &&
                    volume_same_place(v->conf, s->provider, name);
        if (!former && !owner && !same)
            continue;
        *ret_error = c2_asprintf("the volume %s \"%s\"%s\nhint: first c2fsctl provider replace or "
                                 "remove, and wait for its end",
                                 former ? "is still moving away from" : "uses", name,
                                 same ? " under another name" : "");
        return C2_E_PRECONDITION;
    }
    return C2_E_OK;
}

C2_RESULT
seat_may_add(const struct volume *v, const char *name, unsigned *ret_seat, char **ret_error)
{
    const struct volume_config *c = &v->config;
    unsigned seat = 0;
    C2_TRY(check_new(v, name, ret_error));
    while (seat < c->n && c->seats[seat].state != VOLUME_SEAT_EMPTY)
        seat++;
    if (seat == DS_SEATS_MAX) {
        *ret_error =
            c2_asprintf("the volume has %d providers, more are not possible\nhint: c2fsctl "
                        "provider replace OLD %s puts it in the place of one of them",
                        DS_SEATS_MAX, name);
        return C2_E_PRECONDITION;
    }
    *ret_seat = seat;
    return C2_E_OK;
}

C2_RESULT
seat_may_go_offline(const struct volume *v, const char *name, unsigned *ret_seat, char **ret_error)
{
    unsigned seat;
    C2_TRY(find_seat(v, name, &seat, ret_error));
    C2_TRY(check_idle(v, v->config.n, ret_error));
    char *what = c2_asprintf("to put \"%s\" offline", name);
    enum c2_err err = check_others(v, seat, what, ret_error);
    c2_free(what);
    *ret_seat = seat;
    return err;
}

C2_RESULT
seat_may_go_online(const struct volume *v, const char *name, unsigned *ret_seat, char **ret_error)
{
    unsigned seat;
    C2_TRY(find_seat(v, name, &seat, ret_error));
    enum volume_seat_state state = v->config.seats[seat].state;
    *ret_seat = seat;
    if (state != VOLUME_SEAT_REBUILDING)
        return C2_E_OK;
    return check_idle(v, v->config.n, ret_error);
}
