/* Takes from the process, for good, what serving guests does not need. */
#ifndef TVIX_STORE_CONFINE_H
#define TVIX_STORE_CONFINE_H

/*
 * From now on no thread can start a program or another process, trace or change others, mount, enter namespaces, load
 * code into the kernel, or gain privileges by executing anything (no_new_privs): such calls fail with EPERM. 0 or -errno.
 */
int confine(void);

#endif
