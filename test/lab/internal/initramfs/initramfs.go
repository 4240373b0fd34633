// Package initramfs builds the first file system of the lab's guest: busybox, modules and a script.
package initramfs

import (
	"bytes"
	"context"
	_ "embed"
	"fmt"
	"io"
	"os"
	"path"
	"strings"
)

//go:embed init.sh
var initScript []byte

// Write writes an initramfs to w. It loads the module files in their order and then runs <job>/labrun, where <job>
// is the kernel argument lab.job, in the root file system exported under the 9p tag "root".
func Write(ctx context.Context, w io.Writer, busybox string, moduleFiles []string) error {
	a := &archive{w: w}
	for _, dir := range []string{"bin", "dev", "proc", "modules", "lower", "rw", "root"} {
		a.dir(dir)
	}
	bb, err := os.ReadFile(busybox)
	if err != nil {
		return fmt.Errorf("busybox: %w", err)
	}
	a.file("bin/busybox", bb)
	a.file("init", initScript)
	var order bytes.Buffer
	for _, file := range moduleFiles {
		name, data, err := readModule(ctx, file)
		if err != nil {
			return err
		}
		if strings.ContainsAny(name, " \n") {
			return fmt.Errorf("module file name %q has blanks", name)
		}
		a.file(path.Join("modules", name), data)
		fmt.Fprintln(&order, name)
	}
	a.file("modules/order", order.Bytes())
	return a.close()
}
