package lab

import (
	"context"
	"debug/elf"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/strongswan/govici/vici"
)

// NotForThisSystem begins the reason of a test that is skipped because the system that the lab runs on cannot do what the test is about.
// The suite counts and names such tests; one that is skipped for any other reason is a failure. A test that only leaves out a part
// logs a line that begins so, and is named, too.
const NotForThisSystem = "not for this system: "

// Version asks the running charon for its version, such as "6.1.0".
func (c *Charon) Version() (string, error) {
	ctx, cancel := context.WithTimeout(c.host.lab.t.Context(), viciTimeout)
	defer cancel()
	s, err := vici.NewSession(vici.WithSocketPath(c.Socket()))
	if err != nil {
		return "", err
	}
	defer func() { _ = s.Close() }()
	m, err := s.Call(ctx, "version", nil)
	if err != nil {
		return "", err
	}
	version, ok := m.Get("version").(string)
	if !ok {
		return "", fmt.Errorf("charon tells no version: %v", m)
	}
	return version, nil
}

// Needs ends the test as not for this system when charon is older than major.minor; what names the feature. Features are asked for by
// version, so that a newer charon in which one is missing fails its test.
func (c *Charon) Needs(t testing.TB, major, minor int, what string) {
	t.Helper()
	version, err := c.Version()
	if err != nil {
		t.Fatalf("lab: %s: %v", c.host.name, err)
	}
	enough, err := atLeast(version, major, minor)
	if err != nil {
		t.Fatalf("lab: %s: %v", c.host.name, err)
	}
	if !enough {
		t.Skipf("%s%s needs strongSwan %d.%d, and this is %s", NotForThisSystem, what, major, minor, version)
	}
}

func atLeast(version string, major, minor int) (bool, error) {
	var gotMajor, gotMinor int
	if _, err := fmt.Sscanf(version, "%d.%d", &gotMajor, &gotMinor); err != nil {
		return false, fmt.Errorf("charon version %q: %w", version, err)
	}
	return gotMajor > major || gotMajor == major && gotMinor >= minor, nil
}

// charonLibrary is where Debian has the library with all of charon's IKE.
const charonLibrary = "/usr/lib/ipsec/libcharon.so.0"

// HasIKEv1 tells whether the installed charon was built with IKEv1, which strongSwan leaves out by default from 6.1 on. Where it was
// not, the test's log says that what is about IKEv1 is not for this system, and the suite names it. charon has no command that
// tells; its library has the function that begins IKEv1's main mode, or has it not.
func HasIKEv1(t testing.TB) bool {
	t.Helper()
	f, err := elf.Open(charonLibrary)
	if err != nil {
		t.Fatalf("lab: %v", err)
	}
	symbols, err := f.DynamicSymbols()
	if err = errors.Join(err, f.Close()); err != nil {
		t.Fatalf("lab: %s: %v", charonLibrary, err)
	}
	has := slices.ContainsFunc(symbols, func(s elf.Symbol) bool { return s.Name == "main_mode_create" })
	if !has {
		t.Logf("%sthis charon was built without IKEv1", NotForThisSystem)
	}
	return has
}
