/*
 * What has to outlast the program: files in the state directory, each written whole or not at all.
 */
#ifndef PORTPOLICY_STORE_H
#define PORTPOLICY_STORE_H

#include <stddef.h>
#include <stdint.h>

/* /var/lib/portpolicy and /run/portpolicy, or what systemd made for the unit (systemd.exec(5), StateDirectory=,
 * RuntimeDirectory=). */
const char *state_directory(void);
const char *runtime_directory(void);

/* Written beside, synchronised, and renamed into place: NAME has the old bytes or the new ones, also after a power cut. 0 or a
 * negative errno. */
int store_write(const char *name, const void *bytes, size_t length);
/*
 * The bytes as a talloc child of ctx, NUL-terminated.  0; -ENOENT; -EPERM when somebody but root may write the file; -EFBIG;
 * -ENOMEM or another negative errno.
 */
int store_read(void *ctx, const char *name, char **bytes, size_t *length);
/* 0, also when there is none, or a negative errno. */
int store_remove(const char *name);

/* For one change of several files at a time among all programs: a descriptor to close, or a negative errno (-EBUSY after ten
 * seconds). */
int store_lock(void);

/* SHA-256 as 64 hex digits. */
#define DIGEST_ROOM 65
void digest_text(const void *bytes, size_t length, char out[DIGEST_ROOM]);

#endif
