package qemu

import (
	"slices"
	"strings"
	"testing"
)

func machine() Machine {
	return Machine{
		Kernel: "/k/vmlinuz", Initramfs: "/j/initramfs", MemoryMiB: 1024, CPUs: 2, Job: "/j", Root: "/",
		Results: "/r,1", Serial: "/r,1/serial.log",
		Sockets: map[string]string{PortStdout: "/j/o", PortStderr: "/j/e", PortControl: "/j/c"},
	}
}

// value returns the arguments that follow the option name.
func values(args []string, name string) []string {
	var v []string
	for i, arg := range args[:len(args)-1] {
		if arg == name {
			v = append(v, args[i+1])
		}
	}
	return v
}

func TestArgs(t *testing.T) {
	args := machine().Args()
	for option, want := range map[string]string{
		"-accel":  "tcg,thread=multi",
		"-cpu":    "max",
		"-smp":    "2",
		"-m":      "1024M",
		"-serial": "file:/r,,1/serial.log",
	} {
		if got := values(args, option); !slices.Equal(got, []string{want}) {
			t.Errorf("%s: got %q, want %q", option, got, want)
		}
	}
	if got := values(args, "-append")[0]; !strings.Contains(got, " lab.job=/j") {
		t.Errorf("kernel arguments %q do not name the job", got)
	}
	shares := values(args, "-fsdev")
	if len(shares) != 3 {
		t.Fatalf("shares %q", shares)
	}
	for i, path := range []string{"/", "/j"} {
		if !strings.Contains(shares[i], "path="+path+",") || !strings.HasSuffix(shares[i], ",readonly=on") {
			t.Errorf("%s must be shared read-only: %q", path, shares)
		}
	}
	if !strings.Contains(shares[2], "path=/r,,1,") || strings.Contains(shares[2], "readonly") {
		t.Errorf("the results must be shared writable: %q", shares[2])
	}
	for port, socket := range machine().Sockets {
		id := strings.ReplaceAll(port, ".", "-")
		if !slices.Contains(values(args, "-chardev"), "socket,id="+id+",path="+socket) {
			t.Errorf("no chardev for %s in %q", port, values(args, "-chardev"))
		}
		if !slices.Contains(values(args, "-device"), "virtserialport,chardev="+id+",name="+port) {
			t.Errorf("no device for %s in %q", port, values(args, "-device"))
		}
	}
}

func TestArgsKVM(t *testing.T) {
	m := machine()
	m.KVM = true
	if got := values(m.Args(), "-accel"); !slices.Equal(got, []string{"kvm"}) {
		t.Errorf("got %q", got)
	}
}

func TestVirtualizes(t *testing.T) {
	for cpuinfo, want := range map[string]bool{
		"processor : 0\nflags\t\t: fpu vmx sse2\n": true,
		"flags\t\t: fpu svm\n":                     true,
		"flags\t\t: fpu sse2\nvmx flags\t: vnmi\n": false,
		"": false,
	} {
		if got := virtualizes(cpuinfo); got != want {
			t.Errorf("virtualizes(%q) = %v", cpuinfo, got)
		}
	}
}

func TestArgsOfAnotherSystem(t *testing.T) {
	m := machine()
	m.Root, m.Checkout = "/cache/sid", "/src"
	shares := values(m.Args(), "-fsdev")
	if len(shares) != 4 || !strings.Contains(shares[2], "id="+TagCheckout+",path=/src,") || !strings.HasSuffix(shares[2], ",readonly=on") {
		t.Errorf("the checkout must be shared read-only: %q", shares)
	}
}
