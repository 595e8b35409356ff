/* SPDX-License-Identifier: MIT */
/*
 * The cases. Steps are described in posix_steps.c. %L is a name of 255 bytes, %M one of 256.
 * Cases run as root, in a fresh folder of mode 0755, with umask 022.
 */
#include "tests/posix/posix.h"

const struct posix_case posix_cases[] = {
    /* open, creat */
    { "open: absent", "open 0 a r", "ENOENT" },
    { "open: creates", "open 0 a rwc 640; stat a type,mode,size,nlink", "0 file,640,0,1" },
    { "open: exclusive on a file", "creat a 644; open 0 a rwcx 644", "0 EEXIST" },
    { "open: exclusive on a dangling link", "symlink no a; open 0 a rwcx 644", "0 EEXIST" },
    { "open: creates through a dangling link", "symlink b a; open 0 a rwc 644; stat b type",
      "0 0 file" },
    { "open: truncates", "creat a 644 abc; open 0 a wt; stat a size", "0 0 0" },
    { "open: read-only with truncate", "creat a 644 abc; open 0 a rt; stat a size", "0 0 0" },
    { "open: truncates an empty file", "creat a 644; mark a; open 0 a wt; moved a", "0 0 0 mc" },
    { "open: folder for writing", "mkdir d 755; open 0 d rw", "0 EISDIR" },
    { "open: folder with create", "mkdir d 755; open 0 d rc 644", "0 EISDIR" },
    { "open: file as folder", "creat a 644; open 0 a rd; open 0 a/b r", "0 ENOTDIR ENOTDIR" },
    { "open: slash after a file", "creat a 644; open 0 a/ r", "0 ENOTDIR" },
    { "open: no-follow", "symlink a l; open 0 l rl", "0 ELOOP" },
    { "open: loop of links", "symlink b a; symlink a b; open 0 a r", "0 0 ELOOP" },
    { "open: longest name", "creat %L 644; stat %L type; unlink %L", "0 file 0" },
    { "open: name too long", "creat %M 644; mkdir %M 755; stat %M type",
      "ENAMETOOLONG ENAMETOOLONG ENAMETOOLONG" },
    { "open: umask", "umask 077; open 0 a rwc 666; stat a mode; umask 022", "0 0 600 0" },
    { "open: special bits at creation", "umask 0; open 0 a rwc 6755; stat a mode; umask 022",
      "0 0 6755 0" },
    { "open: unnamed file", "open 0 . wT 600; write 0 3 x; list .", "0 3 -|EOPNOTSUPP EBADF -" },
    { "open: permission", "creat a 600; as 1000 1000; open 0 a r; as 0 0", "0 0 EACCES 0" },
    { "open: search permission", "mkdir d 700; creat d/a 644; as 1000 1000; open 0 d/a r; as 0 0",
      "0 0 0 EACCES 0" },
    { "open: create needs write permission", "as 1000 1000; creat a 644; as 0 0", "0 EACCES 0" },
    { "open: create changes the folder's times", "mark .; creat a 644; moved .", "0 0 mc" },
    { "open: existing file changes no times", "creat a 644; mark .; open 0 a rwc 644; moved .",
      "0 0 0 -" },

    /* read, write, lseek */
    { "write: appends", "creat a 644 abc; open 0 a wa; pwrite 0 0 2 x; data a", "0 0 2 a1b1c1x2" },
    { "write: seek and hole", "open 0 a rwc 644; pwrite 0 5 2 x; data a; stat a size",
      "0 2 05x2 7" },
    { "write: beyond 4 GiB",
      "open 0 a rwc 644; pwrite 0 5000000000 3 z; stat a size; pread 0 4999999999 9",
      "0 3 5000000003 01z3" },
    { "write: at 2^62", "open 0 a rwc 644; ftruncate 0 9223372036854775807; pwrite 0 0 1 x",
      "0 EFBIG 1|0 0 1" },
    { "write: read-only handle", "creat a 644; open 0 a r; write 0 1 x", "0 0 EBADF" },
    { "read: write-only handle", "creat a 644; open 0 a w; pread 0 0 1", "0 0 EBADF" },
    { "read: folder", "mkdir d 755; open 0 d r; pread 0 0 1", "0 0 EISDIR" },
    { "read: at and after the end",
      "creat a 644 abc; open 0 a r; pread 0 2 9; pread 0 3 1; "
      "pread 0 99 1",
      "0 0 c1 - -" },
    { "write: zero bytes extend nothing", "open 0 a rwc 644; pwrite 0 9 0 x; stat a size",
      "0 0 0" },
    { "write: changes times", "creat a 644; open 0 a w; mark a; write 0 1 x; moved a",
      "0 0 0 1 mc" },
    { "write: clears set-id bits for others",
      "creat a 6777; as 1000 1000; open 0 a w; write 0 1 x; as 0 0; stat a mode", "0 0 0 1 0 777" },
    { "lseek: data and holes",
      "open 0 a rwc 644; pwrite 0 1048576 4 x; lseek 0 1048577 data; lseek 0 1048577 hole; "
      "lseek 0 2000000 data",
      "0 4 1048577 1048580 ENXIO" },
    { "lseek: hole at the end", "creat a 644 abc; open 0 a r; lseek 0 0 hole; lseek 0 3 data",
      "0 0 3 ENXIO" },
    { "lseek: before the start", "creat a 644; open 0 a r; lseek 0 -1 set", "0 0 EINVAL" },
    { "two handles see each other", "open 0 a rwc 644; open 1 a r; write 0 3 q; pread 1 0 9",
      "0 0 3 q3" },
    { "copy_file_range", "creat a 644 abcdef; open 0 a r; open 1 b rwc 644; copy 0 1 3; data b",
      "0 0 0 3 a1b1c1" },

    /* truncate, fallocate */
    { "truncate: shorter, then longer", "creat a 644 abcdef; truncate a 2; truncate a 4; data a",
      "0 0 0 a1b102" },
    { "truncate: absent, folder, negative",
      "truncate a 1; mkdir a 755; truncate a 1; "
      "creat b 644; truncate b -1",
      "ENOENT 0 EISDIR 0 EINVAL" },
    { "truncate: changes times", "creat a 644 abc; mark a; truncate a 1; moved a", "0 0 0 mc" },
    { "truncate: through a read-only handle", "creat a 644; open 0 a r; ftruncate 0 1",
      "0 0 EINVAL" },
    { "truncate: permission", "creat a 644; as 1000 1000; truncate a 1; as 0 0", "0 0 EACCES 0" },
    { "truncate: clears set-id bits for others",
      "creat a 6777 abc; as 1000 1000; truncate a 1; as 0 0; stat a mode", "0 0 0 0 777" },
    { "truncate: beyond 4 GiB", "creat a 644 x; truncate a 6442450944; stat a size,blocks<1000",
      "0 0 6442450944,yes" },
    { "fallocate: extends", "open 0 a rwc 644; fallocate 0 0 0 4096; stat a size", "0 0 4096" },
    { "fallocate: keeps the size", "open 0 a rwc 644; fallocate 0 keep 0 4096; stat a size",
      "0 0 0" },
    { "fallocate: punches a hole", "creat a 644 abcdef; open 0 a rw; fallocate 0 punch 1 3; data a",
      "0 0 0 a103e1f1" },
    { "fallocate: zero length", "open 0 a rwc 644; fallocate 0 0 0 0", "0 EINVAL" },

    /* mkdir, rmdir */
    { "mkdir", "mkdir d 750; stat d type,mode,nlink; stat . nlink", "0 dir,750,2 3" },
    { "mkdir: exists", "mkdir d 755; mkdir d 755; creat a 644; mkdir a 755; mkdir . 755",
      "0 EEXIST 0 EEXIST EEXIST" },
    { "mkdir: no parent", "mkdir d/e 755; creat a 644; mkdir a/e 755", "ENOENT 0 ENOTDIR" },
    { "mkdir: over a dangling link", "symlink no d; mkdir d 755", "0 EEXIST" },
    { "mkdir: inherits the group",
      "mkdir d 755; chown d 0 1234; chmod d 2755; mkdir d/e 755; creat d/f 644; "
      "stat d/e mode,gid; stat d/f mode,gid",
      "0 0 0 0 0 2755,1234 644,1234" },
    { "mkdir: changes the folder's times", "mark .; mkdir d 755; moved .", "0 0 mc" },
    { "rmdir", "mkdir d 755; rmdir d; stat d type; stat . nlink", "0 0 ENOENT 2" },
    { "rmdir: not empty",
      "mkdir d 755; creat d/a 644; rmdir d; mkdir e 755; mkdir e/f 755; "
      "rmdir e",
      "0 0 ENOTEMPTY 0 0 ENOTEMPTY" },
    { "rmdir: file, link, absent", "creat a 644; rmdir a; symlink a l; rmdir l; rmdir no",
      "0 ENOTDIR 0 ENOTDIR ENOENT" },
    { "rmdir: dot and dot-dot", "mkdir d 755; rmdir d/.; mkdir d/e 755; rmdir d/e/..",
      "0 EINVAL 0 ENOTEMPTY" },
    { "rmdir: open folder stays usable", "mkdir d 755; open 0 d r; rmdir d; fstat 0 nlink",
      "0 0 0 0" },
    { "rmdir: create in a removed folder", "mkdir d 755; open 0 d rd; rmdir d; creatat 0 x",
      "0 0 0 ENOENT" },
    { "rmdir: permission", "mkdir d 755; as 1000 1000; rmdir d; as 0 0", "0 0 EACCES 0" },
    { "rmdir: sticky folder",
      "mkdir s 1777; chmod s 1777; mkdir s/d 755; as 1000 1000; rmdir s/d; as 0 0",
      "0 0 0 0 EPERM 0" },

    /* unlink */
    { "unlink", "creat a 644; unlink a; stat a type; list .", "0 0 ENOENT -" },
    { "unlink: absent, folder, parent not a folder",
      "unlink no; mkdir d 755; unlink d; creat a 644; unlink a/b", "ENOENT 0 EISDIR 0 ENOTDIR" },
    { "unlink: slash after the name", "creat a 644; unlink a/", "0 ENOTDIR" },
    { "unlink: open file lives on",
      "creat a 644 abc; open 0 a rw; unlink a; fstat 0 nlink,size; pread 0 0 9; pwrite 0 3 1 d; "
      "fstat 0 size; creat a 644; fstat 0 size; stat a size",
      "0 0 0 0,3 a1b1c1 1 4 0 4 0" },
    { "unlink: the other name stays",
      "creat a 644 abc; link a b; mark a; unlink b; "
      "stat a nlink,size; moved a",
      "0 0 0 0 1,3 c" },
    { "unlink: link, not its target", "creat a 644; symlink a l; unlink l; stat a type",
      "0 0 0 file" },
    { "unlink: permission", "creat a 666; as 1000 1000; unlink a; as 0 0", "0 0 EACCES 0" },
    { "unlink: sticky folder",
      "mkdir s 755; chmod s 1777; creat s/a 666; as 1000 1000; unlink s/a; creat s/b 644; "
      "unlink s/b; as 0 0",
      "0 0 0 0 EPERM 0 0 0" },
    { "unlink: changes the folder's times", "creat a 644; mark .; unlink a; moved .", "0 0 0 mc" },

    /* link */
    { "link", "creat a 644 abc; link a b; stat b nlink,size; same a b", "0 0 2,3 yes" },
    { "link: changes times", "creat a 644; mark a; link a b; moved a", "0 0 0 c" },
    { "link: exists", "creat a 644; creat b 644; link a b; link a a", "0 0 EEXIST EEXIST" },
    { "link: folder", "mkdir d 755; link d e", "0 EPERM" },
    { "link: absent", "link no b; creat a 644; link a no/b", "ENOENT 0 ENOENT" },
    { "link: of a link", "symlink no l; link l m; stat m type; lstat m nlink", "0 0 ENOENT 2" },
    { "link: writes through one name show at the other",
      "creat a 644; link a b; open 0 b w; write 0 3 x; data a", "0 0 0 3 x3" },

    /* symlink, readlink */
    { "symlink", "symlink target l; readlink l; lstat l type,size,mode", "0 target link,6,777" },
    { "symlink: exists", "creat a 644; symlink x a; symlink x y; symlink x y",
      "0 EEXIST 0 EEXIST" },
    { "symlink: empty target", "symlink '' l", "ENOENT" },
    { "readlink: file, folder", "creat a 644; readlink a; readlink .", "0 EINVAL EINVAL" },
    { "symlink: into a folder", "mkdir d 755; symlink d l; creat l/a 644; list d", "0 0 0 a" },

    /* rename */
    { "rename: file", "creat a 644 abc; rename a b; list .; data b", "0 0 b a1b1c1" },
    { "rename: over a file", "creat a 644 abc; creat b 644 xyz; rename a b; list .; data b",
      "0 0 0 b a1b1c1" },
    { "rename: over an open file",
      "creat a 644 abc; creat b 644 xyz; open 0 b r; rename a b; pread 0 0 9; fstat 0 nlink",
      "0 0 0 0 x1y1z1 0" },
    { "rename: to itself", "creat a 644 abc; rename a a; data a", "0 0 a1b1c1" },
    { "rename: to another name of the same file", "creat a 644; link a b; rename a b; list .",
      "0 0 0 a,b" },
    { "rename: folder", "mkdir d 755; creat d/a 644; rename d e; list e; stat d type",
      "0 0 0 a ENOENT" },
    { "rename: folder over an empty one",
      "mkdir d 755; creat d/a 644; mkdir e 755; rename d e; "
      "list e",
      "0 0 0 0 a" },
    { "rename: folder over a full one", "mkdir d 755; mkdir e 755; creat e/a 644; rename d e",
      "0 0 0 ENOTEMPTY" },
    { "rename: kinds", "mkdir d 755; creat a 644; rename a d; rename d a", "0 0 EISDIR ENOTDIR" },
    { "rename: into itself", "mkdir d 755; rename d d/e; mkdir d/e 755; rename d d/e/f",
      "0 EINVAL 0 EINVAL" },
    { "rename: over its parent", "mkdir d 755; mkdir d/e 755; rename d/e d", "0 0 ENOTEMPTY" },
    { "rename: dot", "mkdir d 755; rename d/. e; rename d d/..", "0 EBUSY EBUSY" },
    { "rename: absent", "rename no b; creat a 644; rename a no/b", "ENOENT 0 ENOENT" },
    { "rename: across folders keeps dot-dot right",
      "mkdir d 755; mkdir e 755; mkdir d/x 755; rename d/x e/x; stat d nlink; stat e nlink; "
      "same e/x/.. e",
      "0 0 0 0 2 3 yes" },
    { "rename: no-replace", "creat a 644; creat b 644; rename a b noreplace; rename a c noreplace",
      "0 0 EEXIST 0" },
    { "rename: exchange", "creat a 644 aa; mkdir b 755; rename a b exchange; stat a type; data b",
      "0 0 0 dir a2" },
    { "rename: exchange needs both", "creat a 644; rename a b exchange", "0 ENOENT" },
    { "rename: link itself", "symlink no l; rename l m; readlink m", "0 0 no" },
    { "rename: changes times",
      "creat a 644; mark a; rename a b; moved b; mark .; rename b c; "
      "moved .",
      "0 0 0 c 0 0 mc" },
    { "rename: sticky folder",
      "mkdir s 755; chmod s 1777; creat s/a 666; as 1000 1000; rename s/a s/b; as 0 0",
      "0 0 0 0 EPERM 0" },
    { "rename: name too long", "creat a 644; rename a %M", "0 ENAMETOOLONG" },

    /* chmod, chown, utimens */
    { "chmod", "creat a 644; mark a; chmod a 4711; stat a mode; moved a", "0 0 0 4711 c" },
    { "chmod: not the owner", "creat a 644; as 1000 1000; chmod a 600; as 0 0", "0 0 EPERM 0" },
    { "chmod: setgid by a stranger to the group",
      "creat a 644; chown a 1000 2000; as 1000 1000; chmod a 2755; as 0 0; stat a mode",
      "0 0 0 0 0 755" },
    { "chown", "creat a 644; mark a; chown a 12 34; stat a uid,gid; moved a", "0 0 0 12,34 c" },
    { "chown: large ids", "creat a 644; chown a 4000000000 3000000000; stat a uid,gid",
      "0 0 4000000000,3000000000" },
    { "chown: not permitted",
      "creat a 644; chown a 1000 1000; as 1000 1000; chown a 1001 -1; chown a -1 5; "
      "chown a -1 1000; as 0 0",
      "0 0 0 EPERM EPERM 0 0" },
    { "chown: clears set-id bits", "creat a 644; chmod a 6755; chown a 1000 1000; stat a mode",
      "0 0 0 755" },
    { "chown: of a link itself", "creat a 644; symlink a l; lchown l 7 8; stat a uid; lstat l uid",
      "0 0 0 0 7" },
    { "utimens",
      "creat a 644; utimens a 12345.000000001 1700000000.123456789; "
      "stat a atime,mtime",
      "0 0 12345.000000001,1700000000.123456789" },
    { "utimens: before 1970", "creat a 644; utimens a -1000.5 -1.000000000; stat a mtime",
      "0 0 -1.000000000" },
    { "utimens: after 2038", "creat a 644; utimens a 5000000000.0 5000000000.7; stat a mtime",
      "0 0 5000000000.700000000" },
    { "utimens: wins over an earlier write",
      "open 0 a rwc 644; write 0 3 x; utimens a 5.0 6.0; "
      "close 0; stat a mtime,size",
      "0 3 0 0 6.000000000,3" },
    { "utimens: not the owner", "creat a 666; as 1000 1000; utimens a 5.0 6.0; as 0 0",
      "0 0 EPERM 0" },
    { "utimens: of a folder", "mkdir d 755; utimens d 5.0 6.0; stat d mtime", "0 0 6.000000000" },

    /* special files */
    { "mknod: fifo, device, socket, file",
      "mknod p fifo 600; stat p type,mode; mknod c chr 600 5 3; stat c type,rdev; mknod b blk 600 "
      "259 70000; stat b type,rdev; mknod s sock 600; stat s type; mknod f reg 600; stat f type",
      "0 fifo,600 0 chr,5:3 0 blk,259:70000 0 sock 0 file" },
    { "mknod: exists", "creat a 644; mknod a fifo 600", "0 EEXIST" },
    { "mknod: device needs a privilege", "chmod . 777; as 1000 1000; mknod c chr 600 1 3; as 0 0",
      "0 0 EPERM 0" },

    /* extended attributes */
    { "xattr: set, get, list, remove",
      "creat a 644; setxattr a user.k value; getxattr a user.k; listxattr a; removexattr a user.k; "
      "getxattr a user.k; listxattr a",
      "0 0 value user.k 0 ENODATA -" },
    { "xattr: create and replace",
      "creat a 644; setxattr a user.k v replace; setxattr a user.k v create; setxattr a user.k w "
      "create; setxattr a user.k x replace; getxattr a user.k",
      "0 ENODATA 0 EEXIST 0 x" },
    { "xattr: absent", "creat a 644; removexattr a user.no; getxattr no user.k",
      "0 ENODATA ENOENT" },
    { "xattr: empty value", "creat a 644; setxattr a user.k ''; getxattr a user.k", "0 0 -" },
    { "xattr: changes ctime only", "creat a 644; mark a; setxattr a user.k v; moved a", "0 0 0 c" },
    { "xattr: on a folder", "mkdir d 755; setxattr d user.k v; getxattr d user.k", "0 0 v" },
    { "xattr: user namespace not on links", "symlink no l; lsetxattr l user.k v", "0 EPERM" },
    { "xattr: unknown namespace", "creat a 644; setxattr a nonsense.k v", "0 EOPNOTSUPP" },
    { "xattr: trusted",
      "creat a 644; setxattr a trusted.k v; getxattr a trusted.k; as 1000 1000; "
      "getxattr a trusted.k; as 0 0",
      "0 0 v 0 ENODATA 0" },
    { "xattr: needs write permission", "creat a 644; as 1000 1000; setxattr a user.k v; as 0 0",
      "0 0 EACCES 0" },

    /* folders */
    { "list", "creat b 644; mkdir a 755; symlink x c; list .", "0 0 0 a,b,c" },
    { "list: while it changes", "many f 200; listdel . f; list .", "0 200 -" },
    { "list: many", "many f 1500; count .", "0 1500" },
    { "list: permission", "mkdir d 711; as 1000 1000; list d; as 0 0", "0 0 EACCES 0" },
    { "inode numbers", "creat a 644; inode . a", "0 yes" },

    /* access */
    { "access",
      "creat a 640; chown a 1000 2000; as 1000 5; access a rw; as 1001 2000; "
      "access a r; access a w; as 1001 1001; access a r; as 0 0; access a x",
      "0 0 0 0 0 0 EACCES 0 EACCES 0 EACCES" },

    /* mmap, sync */
    { "mmap: shared write shows to read",
      "open 0 a rwc 644; ftruncate 0 8192; mmapset 0 4096 3 m; pread 0 4095 5", "0 0 0 01m301" },
    { "mmap: private write does not", "creat a 644 abc; open 0 a rw; mmappriv 0 0 3 m; data a",
      "0 0 0 a1b1c1" },
    { "mmap: sees write", "open 0 a rwc 644; write 0 4 w; mmapget 0 0 4", "0 4 w4" },
    { "fsync: file and folder",
      "open 0 a rwc 644; write 0 1 x; fsync 0; fdatasync 0; open 1 . r; "
      "fsync 1; syncfs 1",
      "0 1 0 0 0 0 0" },

    /* locks */
    { "flock: shared and exclusive",
      "creat a 644; open 0 a rw; open 1 a rw; flock 0 sh; flock 1 sh; flock 0 ex; flock 1 un; "
      "flock 0 ex; flock 1 sh",
      "0 0 0 0 0 EAGAIN 0 0 EAGAIN" },
    { "flock: ends with the handle",
      "creat a 644; open 0 a rw; open 1 a rw; flock 0 ex; close 0; "
      "flock 1 ex",
      "0 0 0 0 0 0" },
    { "fcntl: another process is kept out",
      "creat a 644; open 0 a rw; setlk 0 wr 0 10; child setlk 0 wr 5 10; child setlk 0 wr 10 5; "
      "child getlk 0 rd 0 1; setlk 0 un 0 0; child setlk 0 wr 0 10",
      "0 0 0 EAGAIN 0 held 0 0" },
    { "fcntl: readers share",
      "creat a 644; open 0 a rw; setlk 0 rd 0 0; child setlk 0 rd 0 0; "
      "child setlk 0 wr 0 1",
      "0 0 0 0 EAGAIN" },
    { "fcntl: splits",
      "creat a 644; open 0 a rw; setlk 0 wr 0 30; setlk 0 un 10 10; "
      "child setlk 0 wr 10 10; child setlk 0 wr 9 1; child setlk 0 wr 20 1",
      "0 0 0 0 0 EAGAIN EAGAIN" },
    { "fcntl: a close of any handle ends them",
      "creat a 644; open 0 a rw; open 1 a rw; setlk 0 wr 0 0; close 1; child setlk 0 wr 0 0",
      "0 0 0 0 0 0" },
    { "fcntl: write lock needs a writable handle", "creat a 644; open 0 a r; setlk 0 wr 0 0",
      "0 0 EBADF" },

    /* file system */
    { "statfs: names", "namemax .", "255" },
};

const size_t posix_cases_count = sizeof(posix_cases) / sizeof(posix_cases[0]);
