// Command benchhosts is the other side of the benchmark of many checks and hosts:
//
//	benchhosts serve FILE WAIT       serves addresses that answer after WAIT, writes the port to FILE
//	benchhosts ask PORT N            asks N addresses as a program written for just that would
//	benchhosts mixed PORT DIR N      does N checks of four kinds likewise
//	benchhosts measure PROGRAM ARG…  runs a program and says its time, memory and open files
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"time"
)

func main() {
	if err := do(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "benchhosts:", err)
		os.Exit(1)
	}
}

func do(args []string) error {
	switch {
	case len(args) == 3 && args[0] == "serve":
		wait, err := time.ParseDuration(args[2])
		if err != nil {
			return err
		}
		return serve(args[1], wait)
	case len(args) == 3 && args[0] == "ask":
		n, err := strconv.Atoi(args[2])
		if err != nil {
			return err
		}
		return each(n, func(i int) error { return get(args[1], i) })
	case len(args) == 4 && args[0] == "mixed":
		n, err := strconv.Atoi(args[3])
		if err != nil {
			return err
		}
		return each(n, func(i int) error { return mixed(args[1], args[2], i) })
	case len(args) > 1 && args[0] == "measure":
		return measure(args[1:])
	}
	return errors.New("usage: benchhosts serve|ask|mixed|measure …")
}

func serve(file string, wait time.Duration) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		return err
	}
	if err := os.WriteFile(file+".new", []byte(port), 0o600); err != nil {
		return err
	}
	if err := os.Rename(file+".new", file); err != nil {
		return err
	}
	return http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(wait)
		_, _ = io.WriteString(w, `{"status":"healthy"}`)
	}))
}

// atOnce is how many checks the bare loop has under way, as the product's network
// pool does.
const atOnce = 200

func each(n int, work func(i int) error) error {
	slots, errs := make(chan struct{}, atOnce), make(chan error, n)
	var all sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if err := work(i); err != nil {
				errs <- err
			}
		})
	}
	all.Wait()
	close(errs)
	return <-errs
}

// get opens a connection of its own for each address: another host has another.
func get(port string, i int) error {
	transport := &http.Transport{DisableKeepAlives: true}
	client := &http.Client{Transport: transport, Timeout: 10 * time.Second}
	resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%s/%d", port, i))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.Copy(io.Discard, resp.Body); err != nil || resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %v", resp.Status, err)
	}
	return nil
}

func mixed(port, dir string, i int) error {
	switch i % 4 {
	case 0:
		return get(port, i)
	case 1:
		conn, err := net.DialTimeout("tcp", "127.0.0.1:"+port, 10*time.Second)
		if err != nil {
			return err
		}
		return conn.Close()
	case 2:
		_, err := os.Lstat(filepath.Join(dir, "file"))
		return err
	}
	return exec.Command("true").Run()
}

// measure runs a program and looks at its open files every two milliseconds.
func measure(argv []string) error {
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	start := time.Now()
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	most := 0
	look := time.NewTicker(2 * time.Millisecond)
	defer look.Stop()
	for {
		select {
		case err := <-ended:
			usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
			if !ok {
				return errors.New("the system does not tell the use of memory")
			}
			fmt.Printf("%d %d %d\n", time.Since(start).Milliseconds(), usage.Maxrss>>10, most)
			return err
		case <-look.C:
			if files, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", cmd.Process.Pid)); err == nil {
				most = max(most, len(files))
			}
		}
	}
}
