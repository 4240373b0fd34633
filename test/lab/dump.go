package lab

import (
	"context"
	"os/exec"
	"strings"
	"time"
)

// dumpLines is how much of every log the test's log gets. The whole logs are in the results.
const dumpLines = 40

// stateScript shows a host's state. Keys of IPsec states are left out.
const stateScript = `
ip -br link; ip -br addr
echo "-- rules"; ip rule
echo "-- routes"; ip route show table all | grep -v "^\(broadcast\|local\|anycast\|multicast\|fe80\)"
echo "-- nexthops"; ip nexthop
echo "-- states"; ip -s xfrm state list nokeys | grep -v "add .* use\|lifetime\|limit:\|expire"
echo "-- policies"; ip xfrm policy list | grep -v "socket\|^[[:space:]]*$"
echo "-- nftables"; nft list ruleset
echo "-- what was lost"; nstat -azs | awk '$2 > 0 && /Err|Drop|Discard|NoRoute|NoPort|Fail|Prune|ReasmTimeout/ { print $1, $2 }'; cat /proc/self/net/softnet_stat
grep -v "[[:space:]]0$" /proc/self/net/xfrm_stat`

// Dump writes the ends of all daemons' logs and the state of every host to the test's log. The lab does it by itself
// when the test has failed.
func (l *Lab) Dump() {
	l.t.Helper()
	l.mu.Lock()
	daemons, hosts := l.daemons, l.hosts
	l.mu.Unlock()
	last := map[string]*Process{}
	for _, p := range daemons {
		last[p.log] = p
	}
	for _, p := range daemons {
		if last[p.log] == p {
			l.t.Logf("== %s: %s (pid %d, alive %v)\n%s", p.host.name, p.name, p.PID(), p.Alive(), p.LogTail(dumpLines))
		}
	}
	for _, h := range hosts {
		l.t.Logf("== %s: state\n%s", h.name, h.state())
	}
}

func (h *Host) state() string {
	// The test's own context is over when its clean-up runs.
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", stateScript)
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := h.Do(cmd.Start); err != nil {
		return err.Error()
	}
	if err := cmd.Wait(); err != nil {
		out.WriteString(err.Error())
	}
	return out.String()
}
