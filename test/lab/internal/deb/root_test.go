package deb

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseSuite(t *testing.T) {
	for name, want := range map[string]string{
		"": "", "bookworm": Bookworm, "debian12": Bookworm, "debian13": Trixie, "trixie": Trixie, "sid": Sid, "unstable": Sid,
	} {
		if got, err := ParseSuite(name); err != nil || got != want {
			t.Errorf("%q: got %q, %v", name, got, err)
		}
	}
	if got, err := ParseSuite("jammy"); err == nil {
		t.Errorf("jammy: got %q", got)
	}
}

func TestPickMirror(t *testing.T) {
	targets := "Google cloud-sdk-bookworm main https://packages.example/apt/\n" +
		"Debian bookworm-security main http://security.example/debian-security/\n" +
		"Debian bookworm contrib http://contrib.example/debian/\nDebian bookworm main http://mirror.example/debian/\n"
	if got := pickMirror(targets, "bookworm"); got != "http://mirror.example/debian" {
		t.Errorf("got %q", got)
	}
	if got := pickMirror(targets, "trixie"); got != defaultMirror {
		t.Errorf("got %q", got)
	}
	if got := pickMirror("Debian bookworm main file:/srv/debian\n", "bookworm"); got != defaultMirror {
		t.Errorf("got %q", got)
	}
}

// files makes empty files below a new folder.
func files(t *testing.T, names ...string) string {
	t.Helper()
	root := t.TempDir()
	for _, name := range names {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestMakeRootTakesTheOneThatIsThere(t *testing.T) {
	root := filepath.Join(files(t, "sid/boot/vmlinuz-7.2", "sid/lib/modules/7.2/modules.dep", "sid/bin/busybox"), "sid")
	list := "bird2\nbusybox-static\nlinux-image-amd64\n"
	if err := os.WriteFile(filepath.Join(root, rootFile), []byte(list), 0o644); err != nil {
		t.Fatal(err)
	}
	var in Installer // says nothing, so it would panic if it made anything
	k, err := in.MakeRoot(t.Context(), filepath.Dir(root), Sid, []string{"bird2"})
	want := Kernel{Root: root, Version: "7.2", Busybox: filepath.Join(root, "bin", "busybox")}
	if err != nil || k != want {
		t.Errorf("got %+v, %v", k, err)
	}
}

func TestRootKernel(t *testing.T) {
	for name, root := range map[string]string{
		"none": files(t), "two": files(t, "boot/vmlinuz-6.12", "boot/vmlinuz-7.2"), "damaged": files(t, "boot/vmlinuz-6.12"),
	} {
		if k, err := rootKernel(root); err == nil {
			t.Errorf("%s: got %+v", name, k)
		}
	}
}

func TestCodeName(t *testing.T) {
	root := files(t, "etc/os-release")
	if got, err := CodeName(root); err == nil {
		t.Errorf("empty os-release: got %q", got)
	}
	if err := os.WriteFile(filepath.Join(root, "etc/os-release"), []byte("ID=debian\nVERSION_CODENAME=\"trixie\"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if got, err := CodeName(root); err != nil || got != Trixie {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestClosure(t *testing.T) {
	listing := "installed|charon-systemd|6.0.1-6|, libc6 (>= 2.38), libsystemd0 (>= 213) | elogind, strongswan-libcharon (= 6.0.1-6)|ike-server\n" +
		"installed|strongswan-libcharon|6.0.1-6|, libc6|\n" +
		"installed|libc6|2.41-12|libgcc-s1, |\n" +
		"installed|libc6|2.41-12|libgcc-s1, |\n" +
		"installed|libsystemd0|257|, libcap2:any|\n" +
		"config-files|libcap2|1:2|, |\n" +
		"installed|mawk|1.3|, libm|awk\n" +
		"installed|vim|9|, awk|\n"
	got := closure(listing, []string{"charon-systemd", "not-installed"})
	want := []string{"charon-systemd 6.0.1-6", "libc6 2.41-12", "libc6 2.41-12", "libsystemd0 257", "strongswan-libcharon 6.0.1-6"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := closure(listing, []string{"vim"}); !slices.Equal(got, []string{"mawk 1.3", "vim 9"}) {
		t.Errorf("what is only provided: %q", got)
	}
}
