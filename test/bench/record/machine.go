package record

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Here is the machine that this runs on, now.
func Here(versions map[string]string) (Machine, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Machine{}, fmt.Errorf("uname: %w", err)
	}
	info, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return Machine{}, err
	}
	m := Machine{Date: time.Now().UTC().Truncate(time.Second), Processor: modelName(string(info)), Processors: runtime.NumCPU(),
		Kernel: unix.ByteSliceToString(u.Release[:]), Versions: versions}
	m.Emulated = strings.Contains(m.Processor, "TCG")
	return m, nil
}

// modelName is what /proc/cpuinfo calls the first processor.
func modelName(cpuinfo string) string {
	for line := range strings.Lines(cpuinfo) {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return runtime.GOARCH
}
