package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

const portFolder = "/sys/class/virtio-ports"

// openPort opens the virtio port that the host knows by name.
func openPort(name string) (*os.File, error) {
	files, err := filepath.Glob(filepath.Join(portFolder, "*", "name"))
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		got, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		if strings.TrimSpace(string(got)) == name {
			return os.OpenFile(filepath.Join("/dev", filepath.Base(filepath.Dir(file))), os.O_RDWR, 0)
		}
	}
	return nil, fmt.Errorf("no virtio port %s among %d", name, len(files))
}
