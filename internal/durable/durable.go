// Package durable writes files that are either as they were or as they were to become, whatever ends the program or the machine.
package durable

import (
	"fmt"
	"os"
	"path/filepath"
)

// WriteFile replaces a file: the content goes to a temporary file beside it, onto the disk, and then takes the name. The folder is
// made (0700) when there is none. What a crash leaves is a hidden temporary file at most; the next write removes it.
func WriteFile(path string, content []byte, mode os.FileMode) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	temporary := filepath.Join(dir, "."+filepath.Base(path)+".new")
	if err := write(temporary, content, mode); err != nil {
		_ = os.Remove(temporary) // the fault of writing is the one to tell
		return fmt.Errorf("write %s: %w", path, err)
	}
	if err := os.Rename(temporary, path); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	return syncDir(dir)
}

func write(path string, content []byte, mode os.FileMode) error {
	if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
		return err
	}
	// O_EXCL: nobody else's file, and not through a link.
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	if closed := f.Close(); err == nil {
		err = closed
	}
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("write to %s: %w", dir, err)
	}
	err = d.Sync()
	if closed := d.Close(); err == nil {
		err = closed
	}
	if err != nil {
		return fmt.Errorf("write to %s: %w", dir, err)
	}
	return nil
}
