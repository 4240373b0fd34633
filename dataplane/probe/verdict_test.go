package probe

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestVerdict drives the verdict through scripts, one word per interval of a second:
//
//	a  the echo is answered after 10 ms
//	x  the echo is lost
//	l  the echo is lost and its answer comes 500 ms after the loss
//	R  arm anew, sends nothing
//	m:MODE, f:N  another mode, another number of failures
//
// and compares the states after each word, by their initials.
func TestVerdict(t *testing.T) {
	for _, tc := range []struct {
		name       string
		mode       Mode
		failures   int
		script     string
		want       string
		sent, lost uint64
	}{
		{"first answer passes", Auto, 3, "a a", "P P", 2, 0},
		{"auto never fails before the first answer", Auto, 1, "x x x x x x", "W W W W W W", 6, 6},
		{"losses before the first answer do not count later", Auto, 3, "x x x a x x a", "W W W P P P P", 7, 5},
		{"exactly n losses fail", Auto, 3, "a x x x", "P P P F", 4, 3},
		{"one answer between ends the run", Auto, 3, "a x x a x x a", "P P P P P P P", 7, 4},
		{"on counts from the start", On, 3, "x x x", "W W F", 3, 3},
		{"on passes with the first answer", On, 3, "x x a", "W W P", 3, 2},
		{"one failure is enough when so configured", Auto, 1, "a x", "P F", 2, 1},
		{"recovery takes three answers", Auto, 2, "a x x a a a", "P P F F F P", 6, 2},
		{"one loss does not set recovery back", Auto, 2, "a x x a x a a", "P P F F F F P", 7, 3},
		{"two losses set recovery back", Auto, 3, "a x x x a a x x a a a", "P P P F F F F F F F P", 11, 5},
		{"a second outage", Auto, 2, "a x x a a a x x", "P P F F F P P F", 8, 4},
		{"late answers keep passing", Auto, 2, "a l l l l", "P P P P P", 5, 4},
		{"late answers arm", Auto, 2, "l x x", "P P F", 3, 3},
		{"late answers recover", Auto, 2, "a x x l l l", "P P F F F P", 6, 5},
		{"reset waits again", Auto, 2, "a x x R x x x a", "P P F W W W W P", 7, 5},
		{"reset while passing", Auto, 2, "a R x x", "P W W W", 3, 2},
		{"reset with on counts anew", On, 2, "x x R x x", "W F W W F", 4, 4},
		{"auto forgets what only on counted", On, 2, "x x m:AUTO x x x", "W F W W W W", 5, 5},
		{"auto keeps what it would have counted", On, 2, "a x x m:AUTO x", "P P F F F", 4, 3},
		{"on keeps a passing", Auto, 2, "a m:ON x x", "P P P F", 3, 2},
		{"on counts anew after auto", On, 2, "x m:AUTO m:ON x x", "W W W W F", 3, 3},
		{"on from now counts from now", Auto, 2, "x x x m:ON x x", "W W W W W F", 5, 5},
		{"fewer failures judge at the next loss", Auto, 5, "a x x x f:2 x", "P P P P P F", 5, 4},
		{"more failures keep failing", Auto, 2, "a x x f:5 x", "P P F F F", 4, 3},
	} {
		t.Run(tc.name, func(t *testing.T) {
			now := time.Unix(1_000_000_000, 0)
			to := Target{Mode: tc.mode, Interval: time.Second, Failures: tc.failures}
			v := newVerdict(to, now)
			var got []string
			for word := range strings.FieldsSeq(tc.script) {
				before, since := v.state.State, v.state.Since
				var changed, armed bool
				note := func(c bool) { changed = changed || c }
				switch {
				case word == "R":
					v.arm(now)
					armed = true
				case strings.HasPrefix(word, "m:"):
					to.Mode = Mode(word[2:])
					note(v.configure(to, now))
				case strings.HasPrefix(word, "f:"):
					if _, err := fmt.Sscanf(word, "f:%d", &to.Failures); err != nil {
						t.Fatal(err)
					}
					note(v.configure(to, now))
				default:
					seq := v.send(now)
					if word == "a" {
						c, ok := v.answer(seq, now.Add(10*time.Millisecond))
						if note(c); !ok {
							t.Error("the answer did not count")
						}
						if v.state.RTT != 10*time.Millisecond {
							t.Errorf("rtt %v", v.state.RTT)
						}
					}
					note(v.expire(now.Add(time.Second - 1)))
					if v.state.Lost > tc.lost {
						t.Errorf("lost %d", v.state.Lost)
					}
					now = now.Add(time.Second)
					note(v.expire(now))
					if word == "l" {
						c, ok := v.answer(seq, now.Add(500*time.Millisecond))
						if note(c); !ok {
							t.Error("the late answer did not count")
						}
					}
				}
				// A change and its undoing within one word ("late answers" may do that) is a change too.
				if !armed && !changed && (v.state.State != before || !v.state.Since.Equal(since)) {
					t.Errorf("after %q: %s since %v became %s since %v and nobody was told", word, before, since, v.state.State, v.state.Since)
				}
				got = append(got, v.state.State[:1])
			}
			if diff := cmp.Diff(tc.want, strings.Join(got, " ")); diff != "" {
				t.Errorf("states (-want +got):\n%s", diff)
			}
			if v.state.Sent != tc.sent || v.state.Lost != tc.lost {
				t.Errorf("sent %d, lost %d; want %d, %d", v.state.Sent, v.state.Lost, tc.sent, tc.lost)
			}
		})
	}
}

// TestVerdictIgnores lists answers that count for nothing.
func TestVerdictIgnores(t *testing.T) {
	now := time.Unix(1_000_000_000, 0)
	v := newVerdict(Target{Mode: Auto, Interval: time.Second, Failures: 3}, now)
	if _, ok := v.answer(1, now); ok {
		t.Error("an echo never sent was answered")
	}
	first := v.send(now)
	v.arm(now)
	if _, ok := v.answer(first, now); ok || v.state.State != StateWaiting {
		t.Error("an answer from before arming counted")
	}
	second := v.send(now)
	for want := range 2 {
		if _, ok := v.answer(second, now.Add(time.Millisecond)); ok != (want == 0) {
			t.Errorf("answer %d: %v", want, ok)
		}
	}
	old := v.send(now)
	for range window {
		now = now.Add(time.Second)
		v.expire(now)
		v.send(now)
	}
	if _, ok := v.answer(old, now); ok {
		t.Error("an answer to a forgotten echo counted")
	}
	if _, ok := v.answer(old+1, now); !ok {
		t.Error("the answer to the oldest remembered echo did not count")
	}
	if v.state.RTT != (window-1)*time.Second {
		t.Errorf("rtt %v", v.state.RTT)
	}
	newest := v.next - 1
	v.answer(newest, now.Add(time.Millisecond))
	v.answer(newest-1, now.Add(2*time.Millisecond))
	if v.state.RTT != time.Millisecond {
		t.Errorf("rtt %v is not that of the newest answered echo", v.state.RTT)
	}
	if _, ok := v.answer(v.next, now); ok {
		t.Error("an echo of the future was answered")
	}
}
