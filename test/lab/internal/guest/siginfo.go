package guest

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// siginfoPID returns si_pid, which x/sys/unix leaves inside the union. On 64-bit Linux the union starts at byte 16
// of siginfo_t (include/uapi/asm-generic/siginfo.h), with the pid first for SIGCHLD.
func siginfoPID(info *unix.Siginfo) int {
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(info), 16)))
}
