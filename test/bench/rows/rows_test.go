//go:build bench

package rows

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/bordergw/bordergw/test/bench/record"
)

// small says which of two sizes is to be measured.
func small() bool { return os.Getenv("BORDERGW_BENCH_SIZE") != "large" }

// turns is how often each comparison is made.
func turns(t *testing.T) int {
	t.Helper()
	n, err := strconv.Atoi(os.Getenv("BORDERGW_BENCH_COUNT"))
	if err != nil || n < 1 {
		t.Fatalf("BORDERGW_BENCH_COUNT: %q is not a positive number", os.Getenv("BORDERGW_BENCH_COUNT"))
	}
	return n
}

// put leaves what was measured for a row where the caller of the lab looks.
func put(t *testing.T, row string, series ...record.Series) {
	t.Helper()
	on, err := record.Here(versions())
	if err != nil {
		t.Fatal(err)
	}
	for i := range series {
		series[i].On = on
		t.Logf("%s, %d %s: bordergw %v, %s %v", series[i].Quantity, series[i].Size, series[i].Things, series[i].A, series[i].Peer, series[i].B)
	}
	if err := record.Put(filepath.Join(os.Getenv("BORDERGW_RESULTS"), "rows"), row, series...); err != nil {
		t.Fatal(err)
	}
}

// versions are those of the daemons' packages.
func versions() map[string]string {
	out := map[string]string{}
	for name, pkg := range map[string]string{"strongSwan": "charon-systemd", "FRR": "frr", "BIRD": "bird2"} {
		text, err := exec.Command("dpkg-query", "-W", "-f", "${Version}", pkg).Output()
		if v := strings.TrimSpace(string(text)); err == nil && v != "" {
			out[name] = v
		}
	}
	return out
}

// named is a test whose labs have folders of their own.
type named struct {
	*testing.T
	name string
}

func (n named) Name() string { return n.T.Name() + "-" + n.name }
