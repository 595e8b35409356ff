#!/bin/bash
# SPDX-License-Identifier: MIT
# Real programs work on the mount: git, make and gcc, sqlite3 with two writers, mmap.
# shellcheck source=tests/lib/integration.sh
. "$(dirname "$0")/../lib/integration.sh"
begin "$@"
volume_new
mount_start
cd "$MNT" || die "cd"

# git: a repository with history made here, cloned, checked, packed, its work tree built.
export GIT_CONFIG_GLOBAL=$WORK/gitconfig GIT_CONFIG_SYSTEM=/dev/null
git config --global user.name test
git config --global user.email test@example.org
git config --global init.defaultBranch main
git config --global protocol.file.allow always
make_history() {
    git init -q repo && cd repo || return 1
    mkdir src
    for i in 1 2 3 4 5 6 7 8; do
        printf 'int f%d(void);\nint f%d(void) { return %d; }\n' "$i" "$i" "$i" >"src/f$i.c"
        git add -A && git commit -qm "add f$i" || return 1
    done
    {
        echo 'OBJ := $(patsubst %.c,%.o,$(wildcard src/*.c))'
        echo 'libf.a: $(OBJ)'
        printf '\tar rc $@ $^\n'
    } >Makefile
    git add -A && git commit -qm "add a Makefile"
}
check "git: history" make_history
cd "$MNT" || die "cd"
check "git: clone" git clone -q --no-local repo clone
check "git: fsck" git -C clone fsck --strict
check "git: gc" git -C clone gc -q --aggressive --prune=now
check "git: branch, merge, clean state" bash -c 'cd clone && git checkout -qb side HEAD~3 && git merge -q main && git checkout -q main && [ -z "$(git status --porcelain)" ]'
check "git: fsck after gc" git -C clone fsck --strict
check "make" make -s -C clone CC=gcc
check "make: everything is up to date" [ "$(make -s -C clone -q CC=gcc; echo $?)" -eq 0 ]
check "make: one change rebuilds one object" bash -c 'touch clone/src/f3.c && [ "$(make -n -C clone CC=gcc | grep -c " -c ")" -eq 1 ]'
check "ranlib's archive" [ "$(ar t clone/libf.a | wc -l)" -eq 8 ]

# sqlite3: rollback journal, then WAL (shared memory), two writers at once.
sql() {
    sqlite3 -bail -cmd '.timeout 600000' "$@"
}
check "sqlite3: create" sql db 'create table t(id integer primary key, who text, v blob); pragma journal_mode=delete;'
insert() { # WHO
    local i
    for i in $(seq 40); do echo "insert into t(who, v) values('$1', randomblob(3000));"; done | sql db
}
insert a &
one=$!
insert b
check "sqlite3: second writer" [ $? -eq 0 ]
wait $one
check "sqlite3: first writer" [ $? -eq 0 ]
check "sqlite3: all rows" [ "$(sql db 'select count(*), count(distinct who) from t')" = "80|2" ]
check "sqlite3: integrity" [ "$(sql db 'pragma integrity_check')" = ok ]
check "sqlite3: WAL" [ "$(sql db 'pragma journal_mode=wal')" = wal ]
check "sqlite3: writes in WAL" sql db "begin; update t set v = randomblob(4000) where id % 2; commit; vacuum;"
check "sqlite3: integrity in WAL" [ "$(sql db 'pragma integrity_check')" = ok ]
sum=$(sql db 'select id, hex(v) from t order by id' | sha256sum)
cd /
remount_cold
check "sqlite3: the same rows, cold" [ "$(sql "$MNT/db" 'select id, hex(v) from t order by id' | sha256sum)" = "$sum" ]
check "git: fsck, cold" git -C "$MNT/clone" fsck --strict
check "a program runs from the mount" bash -c "cp /bin/true '$MNT/prog' && '$MNT/prog'"
check_fsck
mount_stop
finish
