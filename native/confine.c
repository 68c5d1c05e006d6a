/* See confine.h. seccomp(2): a list of what is refused, since nobody can list all that Node and its libraries call. */
#define _GNU_SOURCE
#include "confine.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__x86_64__)
#define ARCHITECTURE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define ARCHITECTURE AUDIT_ARCH_AARCH64
#endif

#define REFUSED SECCOMP_RET_ERRNO | EPERM
#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, field))
#define RETURN(value) BPF_STMT(BPF_RET | BPF_K, value)
#define REFUSE(call) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_##call, 0, 1), RETURN(REFUSED)
/* x32 calls have other numbers for the same things. */
#define X32_BIT 0x40000000

int confine(void)
{
#ifndef ARCHITECTURE
	return -ENOSYS;
#else
	struct sock_filter filter[] = {
	    LOAD(arch),
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, ARCHITECTURE, 1, 0),
	    RETURN(REFUSED),
	    LOAD(nr),
	    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, X32_BIT, 0, 1),
	    RETURN(REFUSED),
	    REFUSE(execve),
	    REFUSE(execveat),
	    REFUSE(ptrace),
	    REFUSE(process_vm_readv),
	    REFUSE(process_vm_writev),
	    REFUSE(pidfd_getfd),
	    REFUSE(mount),
	    REFUSE(umount2),
	    REFUSE(move_mount),
	    REFUSE(open_tree),
	    REFUSE(fsopen),
	    REFUSE(fsmount),
	    REFUSE(mount_setattr),
	    REFUSE(pivot_root),
	    REFUSE(chroot),
	    REFUSE(setns),
	    REFUSE(unshare),
	    REFUSE(open_by_handle_at),
	    REFUSE(mknodat),
	    REFUSE(bpf),
	    REFUSE(perf_event_open),
	    REFUSE(userfaultfd),
	    REFUSE(init_module),
	    REFUSE(finit_module),
	    REFUSE(delete_module),
	    REFUSE(kexec_load),
	    REFUSE(reboot),
	    REFUSE(swapon),
	    REFUSE(swapoff),
	    REFUSE(settimeofday),
	    REFUSE(clock_settime),
	    REFUSE(add_key),
	    REFUSE(request_key),
	    REFUSE(keyctl),
	    REFUSE(quotactl),
	    REFUSE(acct),
#ifdef __NR_fork
	    REFUSE(fork),
	    REFUSE(vfork),
	    REFUSE(mknod),
	    REFUSE(iopl),
	    REFUSE(ioperm),
#endif
	    /* Its flags lie in memory, where a filter cannot look: the C library then uses clone(2). */
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone3, 0, 1),
	    RETURN(SECCOMP_RET_ERRNO | ENOSYS),
	    /* Threads are made; processes are not. */
	    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, __NR_clone, 0, 3),
	    LOAD(args[0]),
	    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, CLONE_THREAD, 1, 0),
	    RETURN(REFUSED),
	    RETURN(SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {sizeof filter / sizeof *filter, filter};
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return -errno;
	/* Of all threads at once; it gives them no_new_privs, too. Positive: a thread has a filter that we do not know. */
	long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &program);
	return result < 0 ? -errno : result > 0 ? -EBUSY : 0;
#endif
}
