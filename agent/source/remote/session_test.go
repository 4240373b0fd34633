package remote_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bordergw/bordergw/agent/source/remote"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func TestSessionsEndAndBeginAnew(t *testing.T) {
	for _, tc := range []struct {
		name string
		// end is what happens to an established session; log is what the agent says about it.
		end func(*session)
		log string
		// within is how long the agent may take to be at the other controller.
		within time.Duration
	}{
		{"cut", func(s *session) { close(s.cut) }, "stream reset", time.Second},
		{"silent", func(s *session) {
			for s.ctx.Err() == nil {
				s.drain()
				time.Sleep(time.Second)
			}
		}, "the controller is silent", 2 * time.Second},
		{"does not read", func(s *session) { <-s.ctx.Done() }, "the controller does not read", time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				defer func() { w.stop() }()
				s := w.accept()
				s.offer(w.snapshot(7, 2))
				w.emitted()
				tc.end(s)
				began := time.Now()
				second := w.accept()
				if took := time.Since(began); took > tc.within {
					t.Errorf("at another controller after %s", took)
				}
				if second.endpoint == s.endpoint {
					t.Error("the agent comes back to the controller that it lost")
				}
				if second.hello.GetRevision() != 7 || string(second.hello.GetDigest()) != "\x07" {
					t.Errorf("Hello %v", second.hello)
				}
				synctest.Wait()
				if st := w.source.Status(); st.GetSource() != "controller:"+second.endpoint || st.GetDisconnected() != nil {
					t.Errorf("status %v", st)
				}
				if !strings.Contains(w.log.String(), tc.log) {
					t.Errorf("the log has no %q:\n%s", tc.log, w.log)
				}
				if w.emitted() != nil {
					t.Error("another session alone emits a Set")
				}
			})
		})
	}
}

func TestControllersThatTalkNonsense(t *testing.T) {
	welcome := func(version uint32) *apiv1.ConnectResponse {
		return &apiv1.ConnectResponse{Message: &apiv1.ConnectResponse_Welcome{Welcome: &apiv1.Welcome{Version: version}}}
	}
	for _, tc := range []struct {
		name string
		say  func(*session)
		log  string
	}{
		{"no Welcome", func(s *session) {
			s.say(&apiv1.ConnectResponse{Message: &apiv1.ConnectResponse_Snapshot{Snapshot: &apiv1.Snapshot{}}})
		}, "no Welcome"},
		{"an empty message", func(s *session) { s.say(&apiv1.ConnectResponse{}) }, "no Welcome"},
		{"another version", func(s *session) { s.say(welcome(9)) }, "speaks version 9 of the protocol, this agent [1 2]"},
		{"slow", func(s *session) { <-s.ctx.Done() }, "no answer in time"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				defer func() { w.stop() }()
				began := time.Now()
				s := w.dialled()
				<-s.up
				tc.say(s)
				other := w.accept()
				if took := time.Since(began); took > 7*time.Second || other.endpoint == s.endpoint {
					t.Errorf("at %s after %s", other.endpoint, took)
				}
				other.offer(w.snapshot(7, 1))
				if w.emitted() == nil || !strings.Contains(w.log.String(), tc.log) {
					t.Errorf("no Set, or the log has no %q:\n%s", tc.log, w.log)
				}
			})
		})
	}
}

// Attempts that fail come at growing intervals, which stay below a third of the lease.
func TestBackOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		var at []time.Time
		w.reachable(false)
		w.start(func(o *remote.Options) {
			dial := o.Dial
			o.Dial = func(ctx context.Context, endpoint string) (remote.Stream, error) {
				at = append(at, time.Now())
				return dial(ctx, endpoint)
			}
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		w.stop()
		if n := len(at); n < 20 || n > 60 {
			t.Errorf("%d attempts in a minute", n)
		}
		for i := range at[1:] {
			if gap := at[i+1].Sub(at[i]); gap > lease/3 || gap < 100*time.Millisecond {
				t.Errorf("attempt %d after %s", i+1, gap)
			}
		}
		if st := w.source.Status(); st.GetDisconnected() == nil || st.GetSource() != "controller:disk" {
			t.Errorf("status %v", st)
		}
	})
}

func TestStartFromDisk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		w.accept().offer(w.snapshot(7, 2))
		first := w.emitted()
		w.stop()

		w.reachable(false)
		w.start()
		time.Sleep(4 * time.Second)
		if w.emitted() != nil {
			t.Error("the copy on disk comes into force although a controller may still answer")
		}
		time.Sleep(2 * time.Second)
		if set := w.emitted(); set == nil || !set.Equal(first) {
			t.Fatal("the state on disk is not in force")
		}
		if st := w.source.Status(); st.GetFromDisk() == nil || st.GetDisconnected() == nil || st.GetRevision() != 7 || st.GetSource() != "controller:disk" {
			t.Errorf("status %v", st)
		}
		w.reachable(true)
		s := w.accept()
		if s.hello.GetRevision() != 7 {
			t.Errorf("Hello %v", s.hello)
		}
		s.offer(&apiv1.Snapshot{Revision: 7, Digest: s.hello.GetDigest(), Unchanged: true})
		if st := w.source.Status(); w.emitted() != nil || st.GetFromDisk() != nil || st.GetDisconnected() != nil {
			t.Errorf("status %v", st)
		}
		w.stop()

		// A controller that answers in time and has nothing new: no need to wait any longer.
		w.start()
		began := time.Now()
		s = w.accept()
		s.offer(&apiv1.Snapshot{Revision: 7, Digest: s.hello.GetDigest(), Unchanged: true})
		if set := w.emitted(); set == nil || !set.Equal(first) || time.Since(began) > time.Second {
			t.Error("the state that is unchanged is not in force at once")
		}
		w.stop()
	})
}

// Whatever a crash or a bad disk makes of the file, the agent tells it, and starts when a controller answers.
func TestDamagedFile(t *testing.T) {
	for _, tc := range []struct {
		name   string
		damage func([]byte) []byte
		says   string
	}{
		{"empty", func([]byte) []byte { return nil }, "in a format"},
		{"half written", func(b []byte) []byte { return b[:len(b)/2] }, "checksum"},
		{"only the beginning", func(b []byte) []byte { return b[:30] }, "ends too early"},
		{"one bit", func(b []byte) []byte { b[len(b)-9] ^= 4; return b }, "checksum"},
		{"zeros", func(b []byte) []byte { return make([]byte, len(b)) }, "in a format"},
		{"a format of tomorrow", func(b []byte) []byte { return append([]byte("bordergw-snapshot-2\n"), b[20:]...) }, "in a format"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t)
				w.start()
				w.accept().offer(w.snapshot(7, 2))
				w.emitted()
				w.stop()
				content, err := os.ReadFile(w.file())
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(w.file(), tc.damage(content), 0o600); err != nil {
					t.Fatal(err)
				}

				w.reachable(false)
				w.start()
				defer func() { w.stop() }()
				time.Sleep(10 * time.Second)
				synctest.Wait()
				st := w.source.Status()
				if w.emitted() != nil || len(st.GetFindings()) != 1 || !strings.Contains(st.GetFindings()[0].GetMessage(), tc.says) {
					t.Errorf("status %v", st)
				}
				w.reachable(true)
				s := w.accept()
				if s.hello.GetRevision() != 0 {
					t.Errorf("Hello %v", s.hello)
				}
				s.offer(w.snapshot(9, 2))
				if st := w.source.Status(); w.emitted() == nil || len(st.GetFindings()) != 0 || st.GetRevision() != 9 {
					t.Errorf("status %v", st)
				}
			})
		})
	}
}

// A folder that cannot be written keeps no snapshot from coming into force.
func TestDiskFull(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if err := os.Mkdir(w.file(), 0o700); err != nil {
			t.Fatal(err)
		}
		w.start()
		defer func() { w.stop() }()
		answer := w.accept().offer(w.snapshot(7, 2))
		if set := w.emitted(); set == nil || answer.GetRefused() || len(answer.GetFindings()) != 1 || !answer.GetFindings()[0].GetWarning() {
			t.Errorf("answer %v", answer)
		}
	})
}

// A host key that was rotated opens what is on disk still, and a new snapshot is sealed for the new one.
func TestRotatedKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.start()
		s := w.accept()
		s.offer(w.snapshot(7, 2))
		first := w.emitted()
		w.stop()
		w.rotate()
		w.reachable(false)
		w.start()
		defer func() { w.stop() }()
		time.Sleep(6 * time.Second)
		if set := w.emitted(); set == nil || !set.Equal(first) {
			t.Error("after the rotation the snapshot on disk does not open")
		}
		w.reachable(true)
		again := w.accept()
		if string(again.hello.GetPublicKey()) == string(s.hello.GetPublicKey()) {
			t.Error("the Hello has the old key")
		}
		if answer := again.offer(w.snapshot(8, 2)); len(answer.GetFindings()) > 0 || w.emitted() != nil {
			t.Errorf("answer %v", answer)
		}
	})
}
