package gobench

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParse(t *testing.T) {
	v, err := Parse(strings.NewReader(`goos: linux
cpu: Some Processor @ 2.80GHz
BenchmarkIdleRound/tunnels=100-2         	     278	   9107667 ns/op	         2.208 cpu-ms/round
BenchmarkIdleRound/tunnels=10-2          	      14	 146621525 ns/op	        29.25 cpu-ms/round	  811514 B/op
BenchmarkIdleRound/tunnels=10-2          	      14	 146621525 ns/op	        30 cpu-ms/round	  811514 B/op
BenchmarkIdleRound/other/tunnels=10-2    	      14	 146621525 ns/op	        1 cpu-ms/round
PASS
`))
	if err != nil {
		t.Fatal(err)
	}
	want := []Size{{"tunnels", 10, []float64{29.25, 30}}, {"tunnels", 100, []float64{2.208}}}
	if diff := cmp.Diff(want, v.Sizes("BenchmarkIdleRound", "cpu-ms/round")); diff != "" {
		t.Error(diff)
	}
	if got := v.Sizes("BenchmarkIdleRound", "other"); got != nil {
		t.Errorf("a metric that there is not: %v", got)
	}
	if _, err := Parse(strings.NewReader("BenchmarkX 1 much ns/op\n")); err == nil {
		t.Error("a value that is no number is taken")
	}
}
