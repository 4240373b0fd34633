package netlinktest

import (
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Namespace moves the test's goroutine, for good, to a thread of its own in a fresh network namespace. Sockets must be
// opened on that goroutine; they stay in the namespace wherever they are used. It needs root.
func Namespace(t testing.TB) {
	t.Helper()
	// Never unlocked: the thread ends with the goroutine, and the namespace with its last socket.
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatalf("new network namespace: %v", err)
	}
}
