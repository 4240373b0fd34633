package lab

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// recorder is a T that notes how it failed instead of ending the test.
type recorder struct {
	T
	fatal string
}

func (*recorder) Helper()                     {}
func (*recorder) Context() context.Context    { return context.Background() }
func (r *recorder) Fatalf(f string, a ...any) { r.fatal = fmt.Sprintf(f, a...) }

func TestEventually(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		ready := func() error {
			if time.Since(start) < 2*time.Second {
				return errors.New("too early")
			}
			return nil
		}
		r := &recorder{}
		if took := Eventually(r, 5*time.Second, "x", ready); r.fatal != "" || took < 2*time.Second || took > 3*time.Second {
			t.Errorf("took %v, %q", took, r.fatal)
		}
		Eventually(r, time.Second, "that thing", func() error { return errors.New("still wrong") })
		if !strings.Contains(r.fatal, "that thing") || !strings.Contains(r.fatal, "still wrong") {
			t.Errorf("failure %q names neither what was waited for nor the last error", r.fatal)
		}
	})
}

func TestConsistently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := &recorder{}
		Consistently(r, time.Second, "x", func() error { return nil })
		if r.fatal != "" {
			t.Error(r.fatal)
		}
		start := time.Now()
		Consistently(r, 5*time.Second, "x", func() error {
			if time.Since(start) > time.Second {
				return errors.New("broken")
			}
			return nil
		})
		if !strings.Contains(r.fatal, "broken") || time.Since(start) > 2*time.Second {
			t.Errorf("%q after %v", r.fatal, time.Since(start))
		}
	})
}
