package link

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// ProcSys is where Linux has its sysctls.
const ProcSys = "/proc/sys"

// sysctls reads and writes the files below a folder such as ProcSys. Paths are relative to it, with slashes.
type sysctls struct{ root string }

func (s sysctls) get(path string) (string, error) {
	b, err := os.ReadFile(filepath.Join(s.root, path))
	return strings.TrimSpace(string(b)), err
}

// set writes a value where another one is.
func (s sysctls) set(path, value string) error {
	have, err := s.get(path)
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", key(path), err)
	}
	if have == value {
		return nil
	}
	if err := os.WriteFile(filepath.Join(s.root, path), []byte(value), 0); err != nil {
		return fmt.Errorf("sysctl %s=%s: %w", key(path), value, err)
	}
	return nil
}

// ipv6 tells whether the kernel has IPv6 at all; it can be switched off at boot.
func (s sysctls) ipv6() bool {
	_, err := os.Stat(filepath.Join(s.root, "net/ipv6"))
	return err == nil
}

// key is a sysctl's name as sysctl(8) writes it: dots and slashes swapped.
func key(path string) string { return strings.NewReplacer("/", ".", ".", "/").Replace(path) }

// setting is a sysctl of one device.
type setting struct {
	family, name, value string
}

// forwarding returns what sends packets on and takes them from wherever they come. Routing looks these up on the device that routing
// sees, which is the VRF for packets that arrive on its members (net/ipv4/fib_frontend.c after l3mdev_ip_rcv), and on
// the member itself for what is not routed by the VRF.
func forwarding() []setting {
	return []setting{
		{"ipv4", "forwarding", "1"},
		{"ipv4", "rp_filter", "0"},
		{"ipv6", "forwarding", "1"},
	}
}

// tunnelOnly returns what is for XFRM interfaces: the policy check stays on (it is what ties packets to their SA), and routers at the
// customer's end configure nothing here.
func tunnelOnly() []setting {
	return []setting{
		{"ipv4", "disable_policy", "0"},
		{"ipv6", "disable_policy", "0"},
		{"ipv6", "accept_ra", "0"},
	}
}

// deviceIPv6 tells whether a device has IPv6: it has none with an MTU below 1280 (net/ipv6/addrconf.c).
func (s sysctls) deviceIPv6(name string) bool {
	_, err := os.Stat(filepath.Join(s.root, "net/ipv6/conf", name))
	return err == nil
}

// device writes settings of one device, those of IPv6 where it has IPv6.
func (s sysctls) device(name string, settings []setting) error {
	var errs []error
	v6 := s.deviceIPv6(name)
	for _, x := range settings {
		if x.family == "ipv6" && !v6 {
			continue
		}
		errs = append(errs, s.set("net/"+x.family+"/conf/"+name+"/"+x.name, x.value))
	}
	return errors.Join(errs...)
}

// EnsureSysctls sets the sysctls of the whole host that the data plane needs, where they differ, and returns those that
// are not as needed. It never touches net.ipv4.conf.all.rp_filter, which belongs to the host's other interfaces too, but
// reports it when it overrides ours: the effective value is the larger of "all" and the device's
// (Documentation/networking/ip-sysctl.rst).
func (d *Driver) EnsureSysctls(ctx context.Context) []SysctlProblem {
	want := []struct{ path, value string }{
		{"net/ipv4/ip_forward", "1"},
		{"net/ipv4/fib_multipath_hash_policy", "1"},
		{"net/ipv6/conf/all/forwarding", "1"},
		{"net/ipv6/fib_multipath_hash_policy", "1"},
	}
	var problems []SysctlProblem
	report := func(path, want string, err error) {
		have, readErr := d.sysctls.get(path)
		if readErr != nil {
			have = ""
		}
		problems = append(problems, SysctlProblem{Key: key(path), Have: have, Want: want, Err: err})
	}
	v6 := d.sysctls.ipv6()
	for _, w := range want {
		if strings.HasPrefix(w.path, "net/ipv6") && !v6 {
			continue
		}
		err := ctx.Err()
		if err == nil {
			err = d.sysctls.set(w.path, w.value)
		}
		if err != nil {
			report(w.path, w.value, err)
		}
	}
	const all = "net/ipv4/conf/all/rp_filter"
	switch v, err := d.sysctls.get(all); {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		report(all, "0", err)
	case v == "1":
		report(all, "0", errors.New("strict reverse path filtering of all devices drops packets that return by another tunnel"))
	case v != "0":
		report(all, "0", errors.New("reverse path filtering of all devices drops packets from sources without a route"))
	}
	return problems
}
