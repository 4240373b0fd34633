package source_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bordergw/bordergw/agent/source"
	"github.com/bordergw/bordergw/api/manifest"
	apiv1 "github.com/bordergw/bordergw/api/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// running starts a source of a folder; only notifications make it read again. What it emits comes out of the channel.
func running(t *testing.T, dir string) (<-chan *apiv1.Set, <-chan *apiv1.SourceStatus) {
	t.Helper()
	sets, changes := make(chan *apiv1.Set, 100), make(chan *apiv1.SourceStatus, 100)
	f := source.NewFile(source.FileOptions{
		Dir: dir, Log: slog.New(slog.DiscardHandler), Debounce: 5 * time.Millisecond, Interval: time.Hour,
		Load:    func(dir string) (*apiv1.Set, []*apiv1.Finding) { return manifest.Load(dir, manifest.LoadOptions{}) },
		Changed: func(s *apiv1.SourceStatus) { changes <- s },
	})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx, func(s *apiv1.Set) { sets <- s }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return sets, changes
}

// write puts a manifest with one CustomerGateway into a folder, in place of the one before, as editors do.
func write(t *testing.T, dir, name string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("kind: CustomerGateway\nname: %s\nspec: {addresses: [203.0.113.1]}\n", name)
	temporary := filepath.Join(dir, ".new")
	if err := os.WriteFile(temporary, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(temporary, filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
}

// await waits until a Set with just this CustomerGateway is emitted.
func await(t *testing.T, sets <-chan *apiv1.Set, name string) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		select {
		case s := <-sets:
			if _, ok := s.CustomerGateways[name]; ok && len(s.CustomerGateways) == 1 {
				return
			}
		case <-deadline:
			t.Fatalf("%s was not emitted", name)
		}
	}
}

func TestFilesChange(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "one")
	sets, changes := running(t, dir)
	await(t, sets, "one")
	write(t, dir, "two")
	await(t, sets, "two")

	if err := os.WriteFile(filepath.Join(dir, "a.yaml"), []byte("kind: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	for s := range changes {
		if s.GetRefused() != nil {
			break
		}
	}
	write(t, dir, "three")
	await(t, sets, "three")
}

func TestFolderIsCreatedLater(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "etc", "bordergw", "manifests.d")
	sets, changes := running(t, dir)
	if s := <-changes; s.GetGeneration() != 0 || s.GetRefused() == nil {
		t.Errorf("status without a folder: %v", s)
	}
	write(t, dir, "one")
	await(t, sets, "one")
	write(t, dir, "two")
	await(t, sets, "two")
}

func TestFolderIsReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "manifests.d")
	write(t, dir, "one")
	sets, changes := running(t, dir)
	await(t, sets, "one")

	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	for s := range changes {
		if s.GetRefused() != nil {
			break
		}
	}
	write(t, dir, "two")
	await(t, sets, "two")
	if err := os.Rename(dir, dir+".old"); err != nil {
		t.Fatal(err)
	}
	write(t, dir, "three")
	await(t, sets, "three")
	write(t, dir, "four")
	await(t, sets, "four")
}

func TestFolderIsALinkThatIsExchanged(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "manifests.d")
	for _, name := range []string{"one", "two"} {
		write(t, filepath.Join(parent, name), name)
	}
	link := func(target string) {
		if err := os.Symlink(target, dir+".new"); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(dir+".new", dir); err != nil {
			t.Fatal(err)
		}
	}
	link("one")
	sets, _ := running(t, dir)
	await(t, sets, "one")
	link("two")
	await(t, sets, "two")
	write(t, filepath.Join(parent, "two"), "three")
	await(t, sets, "three")
}

func TestMountedConfigMapIsExchanged(t *testing.T) {
	dir := t.TempDir()
	exchange := func(version, name string) {
		write(t, filepath.Join(dir, version), name)
		if err := os.Symlink(version, filepath.Join(dir, "..tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(dir, "..tmp"), filepath.Join(dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	exchange("..1", "one")
	if err := os.Symlink("..data/a.yaml", filepath.Join(dir, "a.yaml")); err != nil {
		t.Fatal(err)
	}
	sets, _ := running(t, dir)
	await(t, sets, "one")
	exchange("..2", "two")
	await(t, sets, "two")
}
