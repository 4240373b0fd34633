package deb

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
)

// enabledServices returns the links below etc through which services start at boot: systemd's, and for init scripts
// those of the run levels.
func enabledServices(etc string) (map[string]bool, error) {
	links := map[string]bool{}
	for _, pattern := range []string{"systemd/system/*.wants/*", "systemd/system/*.service", "rc[2-5].d/S*"} {
		names, err := filepath.Glob(filepath.Join(etc, pattern))
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if info, err := os.Lstat(name); err == nil && info.Mode()&os.ModeSymlink != 0 {
				links[name] = true
			}
		}
	}
	return links, nil
}

// disableNew disables the services that were not enabled before: a policy-rc.d keeps package scripts from starting
// a service now, not from enabling it for the next boot.
func (in *Installer) disableNew(ctx context.Context, before map[string]bool) error {
	after, err := enabledServices("/etc")
	if err != nil {
		return err
	}
	scripts := map[string]bool{}
	for link := range after {
		if before[link] {
			continue
		}
		if filepath.Dir(filepath.Dir(link)) == "/etc" { // /etc/rc3.d/S01bird -> ../init.d/bird
			script, err := os.Readlink(link)
			if err != nil {
				return err
			}
			scripts[filepath.Base(script)] = true
			continue
		}
		if err := os.Remove(link); err != nil {
			return fmt.Errorf("disable a service: %w", err)
		}
	}
	for script := range scripts {
		if err := in.run(ctx, "", "update-rc.d", script, "disable"); err != nil {
			return err
		}
	}
	return nil
}
