package main

import (
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/bordergw/bordergw/test/lab"
)

// tally counts the top-level tests of one test process.
type tally struct {
	Passed, Failed int
	Failures       []string // names, also of tests that were skipped without a reason of the lab's
	NotHere        []string // "name: reason" of tests, and parts of them, that are not for this system
	Skipped        int      // top-level tests among Failures that were skipped
	NotHereTests   int      // top-level tests among NotHere
}

func (t tally) tests() int { return t.Passed + t.Failed + t.Skipped + t.NotHereTests }

// good tells that all tests passed that are for this system. A process without tests has passed nothing.
func (t tally) good() bool { return len(t.Failures) == 0 && t.Failed == 0 && t.tests() > 0 }

// count reads the output of a test binary that was run with -test.v.
func count(output string) tally {
	var t tally
	test := ""   // the top-level test that runs
	not := false // it, or a part of it, is not for this system
	for line := range strings.Lines(output) {
		line = strings.TrimRight(line, "\n")
		if _, why, ok := strings.Cut(line, lab.NotForThisSystem); ok {
			t.NotHere = append(t.NotHere, test+": "+why)
			not = true
			continue
		}
		if name, ok := strings.CutPrefix(line, "=== RUN   "); ok && !strings.Contains(name, "/") {
			test, not = name, false
			continue
		}
		text := strings.TrimLeft(line, " ")
		verdict, name, ok := strings.Cut(strings.TrimPrefix(text, "--- "), ": ")
		if !ok || !strings.HasPrefix(text, "--- ") {
			continue
		}
		top := text == line
		name, _, _ = strings.Cut(name, " (")
		switch {
		case verdict == "SKIP" && not:
			if top {
				t.NotHereTests++
			}
		case verdict == "SKIP":
			// A test that skips has not found what the lab is there to provide: that is a failure, too.
			t.Failures = append(t.Failures, "skipped "+name)
			if top {
				t.Skipped++
			}
		case top && verdict == "PASS":
			t.Passed++
		case top && verdict == "FAIL":
			t.Failed++
			t.Failures = append(t.Failures, name)
		}
	}
	return t
}

// sum is what a whole run came to.
type sum struct {
	where                 where
	passed, failed        int
	skipped, notHere      int
	ran, cached           int // tests
	scenarios, kernel     int
	failures, notHereList []string
	again                 []string // tests that passed only when they were run again
	second                []string // tests that were run in a second boot
}

// died notes that the guest ended before these jobs had.
func (s *sum) died(left []job) {
	for _, j := range left {
		s.second = append(s.second, j.Name)
	}
}

func (s *sum) add(j job, t tally) {
	s.passed += t.Passed
	s.failed += t.Failed
	s.skipped += t.Skipped
	s.notHere += t.NotHereTests
	if j.Package == scenarios {
		s.scenarios += t.tests()
	} else {
		s.kernel += t.tests()
	}
	for _, f := range t.Failures {
		s.failures = append(s.failures, j.Package+": "+f)
	}
	for _, n := range t.NotHere {
		s.notHereList = append(s.notHereList, j.Package+": "+n)
	}
}

func (s *sum) addCached(j job, p pass) {
	s.add(j, p.Tally)
	s.cached += p.Tally.tests()
}

// addRun adds what a run of the lab came to; of a job that was run again the last result counts. code is labrun's exit code.
func (s *sum) addRun(jobs []job, done []result, leaks []string, code int) {
	results := map[string]result{}
	for _, d := range done {
		if before, ok := results[d.Name]; ok && !before.passed() && d.passed() {
			s.again = append(s.again, d.Name)
		}
		results[d.Name] = d
	}
	fail := func(format string, args ...any) {
		s.failed++
		s.failures = append(s.failures, fmt.Sprintf(format, args...))
	}
	for _, j := range jobs {
		d, ok := results[j.Name]
		if !ok {
			fail("%s: did not come to its end", j.Name)
			continue
		}
		s.add(j, d.Tally)
		s.ran += d.Tally.tests()
		switch {
		case d.Error != "":
			fail("%s: %s", j.Name, d.Error)
		case d.Tally.tests() == 0:
			fail("%s: no test ran", j.Name)
		}
	}
	for _, leak := range leaks {
		fail("a secret in %s", leak)
	}
	if code != 0 && len(s.failures) == 0 {
		fail("the lab ended with exit code %d", code)
	}
}

// print writes the sum and returns the exit code.
func (s *sum) print(w io.Writer, took time.Duration) int {
	for _, f := range s.failures {
		fmt.Fprintln(w, "--- FAILED", f)
	}
	if len(s.second) > 0 {
		fmt.Fprintf(w, "--- the guest died (serial-died.log); %d tests ran in a second one: %s\n", len(s.second), strings.Join(s.second, ", "))
	}
	for _, a := range s.again {
		fmt.Fprintln(w, "--- failed, and passed when it was run again, alone:", a)
	}
	for _, n := range s.notHereList {
		fmt.Fprintln(w, "--- not for this system:", n)
	}
	fmt.Fprintf(w, "%d scenarios and %d kernel tests %s: %d ran, %d cached, in %s\n", s.scenarios, s.kernel, s.where, s.ran, s.cached,
		took.Round(time.Second))
	fmt.Fprintf(w, "%d passed, %d failed, %d skipped, %d not for this system\n", s.passed, s.failed, s.skipped, s.notHere)
	if len(s.failures) > 0 || s.passed == 0 {
		return 1
	}
	return 0
}
