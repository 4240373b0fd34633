package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestCount(t *testing.T) {
	for name, tc := range map[string]struct {
		output string
		want   tally
		good   bool
	}{
		"all well": {
			"=== RUN   TestA\n--- PASS: TestA (0.10s)\n=== RUN   TestB\n=== RUN   TestB/one\n--- PASS: TestB (1.00s)\n    --- PASS: TestB/one (0.50s)\nPASS\n",
			tally{Passed: 2}, true,
		},
		"failed": {
			"=== RUN   TestA\n    a_test.go:1: no\n--- FAIL: TestA (0.10s)\n    --- FAIL: TestA/one (0.50s)\n=== RUN   TestB\n--- PASS: TestB (0.00s)\nFAIL\n",
			tally{Passed: 1, Failed: 1, Failures: []string{"TestA"}}, false,
		},
		"skipped": {
			"=== RUN   TestA\n    a_test.go:1: needs root\n--- SKIP: TestA (0.00s)\nPASS\n",
			tally{Skipped: 1, Failures: []string{"skipped TestA"}}, false,
		},
		"a subtest skipped": {
			"=== RUN   TestA\n=== RUN   TestA/one\n--- PASS: TestA (0.00s)\n    --- SKIP: TestA/one (0.00s)\nPASS\n",
			tally{Passed: 1, Failures: []string{"skipped TestA/one"}}, false,
		},
		"not for this system": {
			"=== RUN   TestA\n    system.go:1: not for this system: ML-KEM needs strongSwan 6.0, and this is 5.9.8\n--- SKIP: TestA (0.00s)\nPASS\n",
			tally{NotHereTests: 1, NotHere: []string{"TestA: ML-KEM needs strongSwan 6.0, and this is 5.9.8"}}, true,
		},
		"a part is not for this system": {
			"=== RUN   TestA\n=== RUN   TestA/one\n    system.go:1: not for this system: no IKEv1\n--- PASS: TestA (0.00s)\n    --- SKIP: TestA/one (0.00s)\nPASS\n",
			tally{Passed: 1, NotHere: []string{"TestA: no IKEv1"}}, true,
		},
		"a reason is for one test": {
			"=== RUN   TestA\n    system.go:1: not for this system: x\n--- SKIP: TestA (0.00s)\n=== RUN   TestB\n--- SKIP: TestB (0.00s)\nPASS\n",
			tally{NotHereTests: 1, NotHere: []string{"TestA: x"}, Skipped: 1, Failures: []string{"skipped TestB"}}, false,
		},
		"no test": {"testing: warning: no tests to run\nPASS\n", tally{}, false},
	} {
		got := count(tc.output)
		if diff := cmp.Diff(tc.want, got); diff != "" || got.good() != tc.good {
			t.Errorf("%s: good %v\n%s", name, got.good(), diff)
		}
	}
}

func TestSum(t *testing.T) {
	jobs := []job{{Name: "test/scenario TestA", Package: scenarios}, {Name: "dataplane/link", Package: "dataplane/link"}}
	fine := []result{
		{Name: "test/scenario TestA", Tally: tally{Passed: 1}},
		{Name: "dataplane/link", Tally: tally{Passed: 3, NotHereTests: 1, NotHere: []string{"TestN: x"}}},
	}
	cached := job{Name: "bgp/gobgp", Package: "bgp/gobgp"}
	for name, tc := range map[string]struct {
		done  []result
		leaks []string
		code  int
		want  int
		says  []string
	}{
		"all well": {fine, nil, 0, 0, []string{"1 scenarios and 6 kernel tests in a VM (sid, kernel 7.2, strongSwan 6.1.0): 5 ran, 2 cached, in 1m0s",
			"6 passed, 0 failed, 0 skipped, 1 not for this system", "--- not for this system: dataplane/link: TestN: x"}},
		"a leak":        {fine, []string{"results/x.log:7"}, 0, 1, []string{"--- FAILED a secret in results/x.log:7"}},
		"the lab ended": {fine[:1], nil, 124, 1, []string{"--- FAILED dataplane/link: did not come to its end"}},
		"only the code": {fine, nil, 2, 1, []string{"exit code 2"}},
		"a crash":       {[]result{fine[0], {Name: "dataplane/link", Tally: tally{Passed: 1}, Error: "signal: killed"}}, nil, 1, 1, []string{"dataplane/link: signal: killed"}},
		"a second try": {[]result{fine[0], {Name: "dataplane/link", Tally: tally{Failed: 1, Failures: []string{"TestF"}}}, fine[1]}, nil, 0, 0,
			[]string{"passed when it was run again, alone: dataplane/link", "6 passed, 0 failed"}},
		"failed twice": {[]result{fine[0], {Name: "dataplane/link", Tally: tally{Passed: 1}, Error: "signal: killed"},
			{Name: "dataplane/link", Tally: tally{Failed: 1, Failures: []string{"TestF"}}}}, nil, 1, 1, []string{"--- FAILED dataplane/link: TestF", "1 failed"}},
		"a second boot":    {fine, nil, 0, 0, []string{"1 tests ran in a second one: dataplane/link"}},
		"no tests in it":   {[]result{fine[0], {Name: "dataplane/link"}}, nil, 0, 1, []string{"dataplane/link: no test ran"}},
		"a failed subtest": {[]result{fine[0], {Name: "dataplane/link", Tally: tally{Failed: 1, Failures: []string{"TestF"}}}}, nil, 1, 1, []string{"--- FAILED dataplane/link: TestF", "1 failed"}},
	} {
		s := sum{where: "mode vm\nsuite sid\nkernel 7.2\npackage charon-systemd 6.1.0\n"}
		s.addCached(cached, pass{Tally: tally{Passed: 2}})
		s.addRun(jobs, tc.done, tc.leaks, tc.code)
		if name == "a second boot" {
			s.died(jobs[1:])
		}
		var out bytes.Buffer
		if got := s.print(&out, time.Minute); got != tc.want {
			t.Errorf("%s: exit code %d", name, got)
		}
		for _, text := range tc.says {
			if !strings.Contains(out.String(), text) {
				t.Errorf("%s: %q is not in\n%s", name, text, &out)
			}
		}
	}
}
