/* Preloaded into a process: reads or writes of files whose path holds a part of $EIO_READ or $EIO_WRITE, parted by
   colons, fail as on a bad disk. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(int fd, const char *variable) {
  const char *parts = getenv(variable);
  char link[64], path[4096], kept[1024], *rest = kept, *part;
  if (!parts || !*parts) return 0;
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(link, path, sizeof path - 1);
  if (length <= 0) return 0;
  path[length] = 0;
  snprintf(kept, sizeof kept, "%s", parts);
  while ((part = strsep(&rest, ":")))
    if (strstr(path, part)) return 1;
  return 0;
}

#define FAILING(kind, name, parameters, arguments, variable)          \
  kind name parameters {                                              \
    static kind(*real) parameters;                                    \
    if (!real) real = (kind(*) parameters)dlsym(RTLD_NEXT, #name);    \
    if (fails(fd, variable)) {                                        \
      errno = EIO;                                                    \
      return -1;                                                      \
    }                                                                 \
    return real arguments;                                            \
  }

FAILING(ssize_t, read, (int fd, void *to, size_t size), (fd, to, size), "EIO_READ")
FAILING(ssize_t, pread64, (int fd, void *to, size_t size, off64_t at), (fd, to, size, at), "EIO_READ")
FAILING(ssize_t, write, (int fd, const void *from, size_t size), (fd, from, size), "EIO_WRITE")
FAILING(ssize_t, pwrite64, (int fd, const void *from, size_t size, off64_t at), (fd, from, size, at), "EIO_WRITE")
