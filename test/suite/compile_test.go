package main

import (
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLabTestsAndJobs(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plain_test.go"), "package x\n\nfunc TestPlain(t *testing.T) {}\n")
	write(t, filepath.Join(dir, "lab_test.go"), `package x

// TestSteady is as it is.
func TestSteady(t *testing.T) {}

// TestTimed counts every packet.
//
//lab:alone
func TestTimed(t *testing.T) {}

// TestWaits counts packets, for a long time.
//
//lab:pair
func TestWaits(t *testing.T) {}

func TestMain(m *testing.M) {}

func helper() {}
`)
	p := listed{Dir: dir, TestGoFiles: []string{"plain_test.go"}}
	tagged := p
	tagged.TestGoFiles = []string{"plain_test.go", "lab_test.go"}
	tests, atOnce, err := labTests(tagged, p)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"TestSteady", "TestTimed", "TestWaits"}, tests); diff != "" {
		t.Error(diff)
	}
	argv := func(run string) []string { return []string{"x.test", "-test.v", "-test.count", "3", "-test.run", run} }
	for name, want := range map[string][]job{
		"dataplane/link": {{Name: "dataplane/link", Package: "dataplane/link", Tests: tests, Argv: argv("^(TestSteady|TestTimed|TestWaits)$"), AtOnce: 1}},
		scenarios: {
			{Name: scenarios + " TestSteady", Package: scenarios, Tests: tests[:1], Argv: argv("^(TestSteady)$")},
			{Name: scenarios + " TestTimed", Package: scenarios, Tests: tests[1:2], Argv: argv("^(TestTimed)$"), AtOnce: 1},
			{Name: scenarios + " TestWaits", Package: scenarios, Tests: tests[2:], Argv: argv("^(TestWaits)$"), AtOnce: 2},
		},
	} {
		if diff := cmp.Diff(want, split(job{Package: name, Tests: tests}, atOnce, "x.test", 3)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}
