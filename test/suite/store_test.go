package main

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// workbench is a builder with made-up binaries, a store, and one job that uses the programs under test.
func workbench(t *testing.T) (*builder, *store, job) {
	t.Helper()
	checkout := t.TempDir()
	t.Setenv("BORDERGW_LAB_CACHE", "")
	b := &builder{checkout: checkout, dir: filepath.Join(checkout, ".cache", "lab", "tests")}
	if err := os.MkdirAll(b.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"labrun", "suite", "bordergw-agent", "bordergwctl", "bordergw-controller", "x.test"} {
		write(t, b.program(name), name)
	}
	write(t, filepath.Join(checkout, "configs", "strongswan.conf"), "charon {}")
	s, err := openStore(checkout)
	if err != nil {
		t.Fatal(err)
	}
	return b, s, job{Name: "test/scenario TestX", Package: scenarios, Tests: []string{"TestX"}, Argv: []string{b.program("x.test"), "-test.run", "^(TestX)$"}}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
}

func key(t *testing.T, b *builder, j job, w where) string {
	t.Helper()
	jobs := []job{j}
	if err := b.keys(jobs, w); err != nil {
		t.Fatal(err)
	}
	return jobs[0].Key
}

func TestKeyChangesWithEverythingThatCounts(t *testing.T) {
	b, _, j := workbench(t)
	const system = where("mode vm\nkernel 6.1.0\npackage charon-systemd 5.9.8-5\n")
	first := key(t, b, j, system)
	if again := key(t, b, j, system); again != first {
		t.Fatal("the key of nothing new differs")
	}
	for name, change := range map[string]func(*job, *where){
		"the agent":      func(*job, *where) { write(t, b.program("bordergw-agent"), "new") },
		"bordergwctl":    func(*job, *where) { write(t, b.program("bordergwctl"), "new") },
		"the controller": func(*job, *where) { write(t, b.program("bordergw-controller"), "new") },
		"the tests":      func(*job, *where) { write(t, b.program("x.test"), "new") },
		"labrun":         func(*job, *where) { write(t, b.labrun(), "new") },
		"the suite":      func(*job, *where) { write(t, b.program("suite"), "new") },
		"the list":       func(j *job, _ *where) { j.Argv = append(slices.Clone(j.Argv[:2]), "^(TestX|TestY)$") },
		"the kernel":     func(_ *job, w *where) { *w = "mode vm\nkernel 6.1.1\npackage charon-systemd 5.9.8-5\n" },
		"a package":      func(_ *job, w *where) { *w = "mode vm\nkernel 6.1.0\npackage charon-systemd 5.9.8-6\n" },
		"a variable":     func(*job, *where) { t.Setenv("BORDERGW_TEST_SOMETHING", "1") },
		"another suite":  func(_ *job, w *where) { *w += "suite sid\n" },
	} {
		before, changed, w := key(t, b, j, system), j, system
		change(&changed, &w)
		if key(t, b, changed, w) == before {
			t.Errorf("%s: the key is the same", name)
		}
	}
	// A package that does not use the programs does not care for them.
	j.Package, j.Name = "dataplane/link", "dataplane/link"
	kernel := key(t, b, j, system)
	write(t, b.program("bordergw-agent"), "newer")
	if key(t, b, j, system) != kernel {
		t.Error("the agent counts where it is not used")
	}
}

func TestStore(t *testing.T) {
	b, s, j := workbench(t)
	j.Key = key(t, b, j, "mode vm\n")
	good := result{Name: j.Name, Seconds: 7, Tally: tally{Passed: 1}, Inputs: []string{"configs/strongswan.conf", "configs", "none.txt"}}
	for name, bad := range map[string]result{
		"failed":  {Name: j.Name, Tally: tally{Passed: 1, Failed: 1, Failures: []string{"TestY"}}},
		"skipped": {Name: j.Name, Tally: tally{Passed: 1, Skipped: 1, Failures: []string{"skipped TestY"}}},
		"crashed": {Name: j.Name, Tally: tally{Passed: 1}, Error: "signal: killed"},
		"empty":   {Name: j.Name},
	} {
		if err := s.add([]job{j}, []result{bad}); err != nil {
			t.Fatal(err)
		}
		if p, ok := s.lookup(j.Key); ok {
			t.Errorf("%s: remembered as %+v", name, p)
		}
	}
	if err := s.add([]job{j}, []result{good}); err != nil {
		t.Fatal(err)
	}
	p, ok := s.lookup(j.Key)
	if !ok || p.Name != j.Name || p.Seconds != 7 || !cmp.Equal(p.Tally, good.Tally) || time.Since(p.PassedAt) > time.Hour {
		t.Errorf("got %+v, %v", p, ok)
	}
	if p, ok := s.lookup("other"); ok {
		t.Errorf("another key: %+v", p)
	}
	for name, change := range map[string]struct{ path, before, after string }{
		"a file that was read":      {"configs/strongswan.conf", "charon {}", "charon { x = 1 }"},
		"a file that was not there": {"none.txt", "", "now"},
		"a folder that was read":    {"configs/new", "", "x"},
	} {
		write(t, filepath.Join(s.checkout, change.path), change.after)
		if p, ok := s.lookup(j.Key); ok {
			t.Errorf("%s changed: still %+v", name, p)
		}
		if change.before != "" {
			write(t, filepath.Join(s.checkout, change.path), change.before)
		} else if err := os.Remove(filepath.Join(s.checkout, change.path)); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.lookup(j.Key); !ok {
			t.Fatalf("%s changed back: not found", name)
		}
	}
	if err := s.forget(time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	if p, ok := s.lookup(j.Key); ok {
		t.Errorf("old, but remembered: %+v", p)
	}
}

func TestReadFiles(t *testing.T) {
	log := "# test log\nopen ../../configs/strongswan.conf\ngetenv HOME\nstat /src/test/x/testdata\nopen /src/results/TestX/log\n" +
		"open /proc/net/route\nchdir /tmp\nopen relative\nchdir /src/a\nopen b\nopen b\nopen /src/.cache/lab/tests/agent\nopen /srcery\n"
	got := readFiles(log, "/src/dataplane/charon", "/src", "/src/results")
	want := []string{"configs/strongswan.conf", "test/x/testdata", "a/b"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestSecondTryIsNotRemembered(t *testing.T) {
	_, s, j := workbench(t)
	j.Key = "k"
	failed, passed := result{Name: j.Name, Tally: tally{Failed: 1}}, result{Name: j.Name, Tally: tally{Passed: 1}}
	if err := s.add([]job{j}, []result{failed, passed}); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.lookup("k"); ok {
		t.Error("a test that failed first is taken for one that passes")
	}
	if err := s.add([]job{j}, []result{passed}); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.lookup("k"); !ok {
		t.Error("a test that passed is not remembered")
	}
}

func TestWhatIsRunAgain(t *testing.T) {
	jobs := []job{{Name: "passed"}, {Name: "failed"}, {Name: "passed later"}, {Name: "did not end"}}
	fine := tally{Passed: 1}
	r := &runner{task: task{Jobs: jobs}, done: []result{{Name: "passed", Tally: fine}, {Name: "failed"}, {Name: "passed later"}, {Name: "passed later", Tally: fine}}}
	names := func(jobs []job) (out []string) {
		for _, j := range jobs {
			out = append(out, j.Name)
		}
		return out
	}
	if diff := cmp.Diff([]string{"failed"}, names(r.failed())); diff != "" {
		t.Errorf("alone:\n%s", diff)
	}
	if diff := cmp.Diff([]string{"did not end"}, names(unfinished(jobs, r.done))); diff != "" {
		t.Errorf("in a second boot:\n%s", diff)
	}
}
