package lab

import (
	"time"
)

// pollInterval is short beside everything that the lab waits for.
const pollInterval = 50 * time.Millisecond

// Eventually calls check until it returns nil, and fails the test with check's last error when that takes longer than
// timeout. It returns the time it took.
func Eventually(t T, timeout time.Duration, what string, check func() error) time.Duration {
	t.Helper()
	start := time.Now()
	deadline := time.NewTimer(timeout)
	defer deadline.Stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		err := check()
		if err == nil {
			return time.Since(start)
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			t.Fatalf("%s: not within %v: %v", what, timeout, err)
			return timeout
		case <-t.Context().Done():
			t.Fatalf("%s: %v: %v", what, t.Context().Err(), err)
			return time.Since(start)
		}
	}
}

// Consistently calls check all through d and fails the test at its first error.
func Consistently(t T, d time.Duration, what string, check func() error) {
	t.Helper()
	deadline := time.NewTimer(d)
	defer deadline.Stop()
	poll := time.NewTicker(pollInterval)
	defer poll.Stop()
	for {
		if err := check(); err != nil {
			t.Fatalf("%s: did not last: %v", what, err)
			return
		}
		select {
		case <-poll.C:
		case <-deadline.C:
			return
		case <-t.Context().Done():
			t.Fatalf("%s: %v", what, t.Context().Err())
			return
		}
	}
}
