package lab

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestPingStats(t *testing.T) {
	start := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	// Every request is sent 10 ms after the one before; a round trip of 0 means that it was lost.
	probes := func(rtts ...int) []echo {
		var p []echo
		for i, rtt := range rtts {
			e := echo{sent: at(10 * i)}
			if rtt > 0 {
				e.answered = at(10*i + rtt)
			}
			p = append(p, e)
		}
		return p
	}
	for name, tc := range map[string]struct {
		probes []echo
		want   PingStats
	}{
		"nothing sent": {nil, PingStats{}},
		"nothing lost": {probes(1, 2, 1), PingStats{
			Sent: 3, Received: 3, MaxRTT: 2 * time.Millisecond, First: at(1), Last: at(21)}},
		"lost between": {probes(1, 0, 0, 1, 0, 1), PingStats{
			Sent: 6, Received: 3, Lost: 3, LostSeqs: []int{1, 2, 4}, LongestGap: 30 * time.Millisecond,
			MaxRTT: time.Millisecond, First: at(1), Last: at(51)}},
		"lost at the start": {probes(0, 0, 0, 1, 1), PingStats{
			Sent: 5, Received: 2, Lost: 3, LostSeqs: []int{0, 1, 2}, LongestGap: 30 * time.Millisecond,
			MaxRTT: time.Millisecond, First: at(31), Last: at(41)}},
		"lost at the end": {probes(1, 1, 0, 0, 0), PingStats{
			Sent: 5, Received: 2, Lost: 3, LostSeqs: []int{2, 3, 4}, LongestGap: 30 * time.Millisecond,
			MaxRTT: time.Millisecond, First: at(1), Last: at(11)}},
		"answers out of order": {probes(25, 1), PingStats{
			Sent: 2, Received: 2, MaxRTT: 25 * time.Millisecond, First: at(11), Last: at(25)}},
		"all lost": {probes(0, 0), PingStats{Sent: 2, Lost: 2, LostSeqs: []int{0, 1}, LongestGap: 10 * time.Millisecond}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, pingStats(tc.probes)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
