//go:build !linux

package postgrestest

import "syscall"

// dieWithParent cannot tie the server to the test binary on this system.
func dieWithParent(who *syscall.Credential) *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Credential: who}
}
