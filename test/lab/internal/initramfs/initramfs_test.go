package initramfs

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestParseDependsKeepsOrder(t *testing.T) {
	listing := `insmod /m/kernel/drivers/virtio/virtio.ko
insmod /m/kernel/drivers/virtio/virtio_pci.ko
builtin unix
insmod /m/kernel/drivers/virtio/virtio.ko
insmod /m/kernel/net/9p/9pnet.ko debug=1
`
	want := []string{
		"/m/kernel/drivers/virtio/virtio.ko", "/m/kernel/drivers/virtio/virtio_pci.ko", "/m/kernel/net/9p/9pnet.ko",
	}
	if diff := cmp.Diff(want, parseDepends(listing)); diff != "" {
		t.Error(diff)
	}
}

func TestWrite(t *testing.T) {
	dir := t.TempDir()
	write := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	busybox := write("busybox", "static")
	modules := []string{write("b.ko", "bb"), write("a.ko", "a")}
	var out bytes.Buffer
	if err := Write(t.Context(), &out, busybox, modules); err != nil {
		t.Fatal(err)
	}
	files, err := readArchive(out.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"bin/busybox": "static", "init": string(initScript),
		"modules/a.ko": "a", "modules/b.ko": "bb", "modules/order": "b.ko\na.ko\n",
	}
	for _, folder := range []string{"bin", "dev", "proc", "modules", "lower", "rw", "root"} {
		want[folder] = ""
	}
	if diff := cmp.Diff(want, files); diff != "" {
		t.Error(diff)
	}
}

func TestWriteReportsMissingModule(t *testing.T) {
	busybox := filepath.Join(t.TempDir(), "busybox")
	if err := os.WriteFile(busybox, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := Write(t.Context(), &bytes.Buffer{}, busybox, []string{"/nowhere/x.ko"}); !os.IsNotExist(err) {
		t.Errorf("got %v, want that the module does not exist", err)
	}
}

// readArchive is an independent reader of the newc format: sizes in hexadecimal, everything aligned to four bytes.
func readArchive(b []byte) (map[string]string, error) {
	files := map[string]string{}
	at := 0
	field := func(header []byte, n int) int {
		v, err := strconv.ParseUint(string(header[6+8*n:6+8*n+8]), 16, 32)
		if err != nil {
			return -1
		}
		return int(v)
	}
	for {
		if len(b)-at < 110 || string(b[at:at+6]) != "070701" {
			return nil, fmt.Errorf("no header at %d", at)
		}
		header := b[at : at+110]
		size, nameSize := field(header, 6), field(header, 11)
		name := string(b[at+110 : at+110+nameSize-1])
		at = (at + 110 + nameSize + 3) &^ 3
		if name == "TRAILER!!!" {
			return files, nil
		}
		files[name] = string(b[at : at+size])
		at = (at + size + 3) &^ 3
	}
}
