// SPDX-License-Identifier: GPL-2.0-or-later
/* The first program of an x86-64 guest: loads /kernel with /second as its initrd for a crash, and crashes on CPU 2. */

enum { OPEN = 2, WRITE = 1, MOUNT = 165, SCHED_SETAFFINITY = 203, KEXEC_FILE_LOAD = 320, KEXEC_FILE_ON_CRASH = 2 };

static long call(long nr, long a, long b, long c, long d, long e)
{
	register long r10 __asm__("r10") = d, r8 __asm__("r8") = e;

	__asm__ volatile("syscall" : "+a"(nr) : "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
	return nr;
}

void _start(void)
{
	static const char line[] = "console=ttyS0 earlyprintk=serial nr_cpus=1 loglevel=8 nokaslr";
	unsigned long cpus = 1 << 2;
	long kernel = call(OPEN, (long)"/kernel", 0, 0, 0, 0), second = call(OPEN, (long)"/second", 0, 0, 0, 0);
	long trigger;

	call(MOUNT, (long)"proc", (long)"/proc", (long)"proc", 0, 0);
	call(KEXEC_FILE_LOAD, kernel, second, sizeof(line), (long)line, KEXEC_FILE_ON_CRASH);
	call(SCHED_SETAFFINITY, 0, sizeof(cpus), (long)&cpus, 0, 0);
	trigger = call(OPEN, (long)"/proc/sysrq-trigger", 1, 0, 0, 0);
	call(WRITE, trigger, (long)"c", 1, 0, 0);
	for (;;)
		;
}
