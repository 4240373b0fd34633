package initramfs

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// BootModules are what the guest needs to reach its root file system and its virtio ports.
func BootModules() []string {
	return []string{"virtio_pci", "virtio_console", "virtio_rng", "9pnet_virtio", "9p", "overlay"}
}

// DataPathModules are what the scenarios use. They are loaded at boot because that is several times faster from
// memory than one modprobe each from the shared root file system; whatever else is asked for later loads on demand.
func DataPathModules() []string {
	return []string{
		"aesni_intel", "gcm", "seqiv", "echainiv", "authenc", "cbc",
		"esp4", "esp6", "xfrm_user", "xfrm_interface", "vrf", "veth", "bridge", "dummy",
		"nf_tables", "nft_ct", "nft_chain_nat", "sch_netem", "af_packet",
	}
}

// Order lists the files of modules and of everything they depend on, every file once and after its dependencies.
// root is the folder that has lib/modules/<version>; modules that are built into the kernel need no file.
func Order(ctx context.Context, root, version string, modules []string) ([]string, error) {
	var out bytes.Buffer
	for _, m := range modules {
		cmd := exec.CommandContext(ctx, "modprobe", "-d", root, "-S", version, "--show-depends", m)
		var stderr strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &stderr
		if err := cmd.Run(); err != nil {
			return nil, fmt.Errorf("modprobe --show-depends %s: %w: %s", m, err, strings.TrimSpace(stderr.String()))
		}
	}
	return parseDepends(out.String()), nil
}

// parseDepends reads lines like "insmod /lib/modules/6.1/kernel/net/9p/9pnet.ko opt=1" and "builtin NAME".
func parseDepends(listing string) []string {
	var files []string
	seen := map[string]bool{}
	for line := range strings.Lines(listing) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "insmod" || seen[fields[1]] {
			continue
		}
		seen[fields[1]] = true
		files = append(files, fields[1])
	}
	return files
}

// readModule returns a module's code, decompressed: newer kernel packages ship .ko.xz, and insmod of busybox takes
// only plain ELF files.
func readModule(ctx context.Context, file string) (name string, data []byte, err error) {
	name = filepath.Base(file)
	if !strings.HasSuffix(name, ".xz") {
		data, err = os.ReadFile(file)
		return name, data, err
	}
	data, err = exec.CommandContext(ctx, "xz", "-dc", file).Output()
	if err != nil {
		return "", nil, fmt.Errorf("decompress %s: %w", file, err)
	}
	return strings.TrimSuffix(name, ".xz"), data, nil
}
