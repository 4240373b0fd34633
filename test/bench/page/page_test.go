package page

import (
	"flag"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/bordergw/bordergw/test/bench/record"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestPage draws a page of which one row was measured, against golden files.
func TestPage(t *testing.T) {
	dir := t.TempDir()
	results := filepath.Join(dir, "performance")
	on := record.Machine{Date: time.Date(2026, 11, 28, 8, 0, 0, 0, time.UTC), Processor: "QEMU TCG", Processors: 2, Emulated: true,
		Kernel: "6.1.0", Versions: map[string]string{"FRR": "8.4.4", "BIRD": "2.0.12"}}
	var all []record.Series
	for size, a := range map[int][]float64{100: {0.9, 1, 1.1}, 10000: {0.8, 1, 1.3}} {
		s := record.Series{Quantity: "last packet after the cut", Unit: "s", Size: size, Things: "routes", Peer: "FRR", A: a,
			B: []float64{1, 2, float64(size) / 1000}, Goal: record.AtMost(1).OfRatio(), On: on}
		all = append(all, s)
	}
	if err := record.Put(results, "failover-routes", all...); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(results, "failover-routes.md"), []byte("What holds it back: nothing.\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	page := filepath.Join(dir, "performance.md")
	for range 2 { // again: a page that is drawn anew is the same
		if err := Draw(page, results); err != nil {
			t.Fatal(err)
		}
	}
	golden(t, page, "page.md")
	golden(t, filepath.Join(results, "failover-routes-last-packet-after-the-cut.svg"), "plot.svg")
}

func golden(t *testing.T, file, name string) {
	t.Helper()
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got):\n%s", name, diff)
	}
}

func TestNumbers(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1: "1.00", 0.01234: "0.0123", 12.34: "12.3", 123.4: "123", 123456: "123456", 0.97: "0.970"} {
		if got := number(v); got != want {
			t.Errorf("%v: %s, want %s", v, got, want)
		}
	}
	for n, want := range map[int]string{1: "1", 999: "999", 1000: "1,000", 1234567: "1,234,567"} {
		if got := count(n); got != want {
			t.Errorf("%d: %s, want %s", n, got, want)
		}
	}
	for v, want := range map[float64]float64{0: 1, 0.3: 0.4, 1: 1, 41: 50, 51: 100} {
		if got := ceiling(v); got < want*0.999 || got > want*1.001 {
			t.Errorf("ceiling of %v: %v, want %v", v, got, want)
		}
	}
}
