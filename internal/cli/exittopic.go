package cli

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

// exitCode is one row of the help on exit codes and of docs/exit-codes.md.
type exitCode struct {
	code      int
	means, do string
}

// exitCodes lists every code that a verb can end with.
func exitCodes() []exitCode {
	return []exitCode{
		{ExitOK, "Done, the gate passed, or nothing to do", ""},
		{ExitFailed, "A check failed, a gate is closed, or the run was aborted", "`allclear status ENV` names the items"},
		{ExitUsage, "Wrong usage, a mistake in a file, or no plan; nothing was started", "The message names the place"},
		{ExitWaiting, "Waiting for a person", "`allclear status ENV` says for whom"},
		{ExitInconclusive, "Inconclusive: it could not be found out, or there were too few data", "Look at the reason; it is not a failure and not a pass"},
		{ExitRolledBack, "The deployment failed and was rolled back cleanly", ""},
		{ExitInDoubt, "In doubt, or the rollback itself is held: a person is needed now", "`allclear show ENV ITEM`, then settle it"},
		{ExitLocked, "Another run holds the environment", "`allclear status ENV`; end that run first"},
		{ExitChanged, "The world or the list has changed since the plan or the signature", "Plan again and look at what changed"},
		{ExitNotAllowed, "Policy or role forbids it", "The message names who may"},
		{ExitWork, "`plan --detailed-exitcode`: there is work to do", ""},
		{ExitStorage, "Storage error; the run stands as it was last recorded", "Start again; `allclear verify` if it stays"},
		{ExitInterrupted, "The view was interrupted; the run goes on", "`allclear watch ENV`"},
	}
}

// exitTopic is `allclear help exit`.
func exitTopic(*options) *cobra.Command {
	var b strings.Builder
	b.WriteString("Every verb ends with one of these codes; scripts may rely on them.\n\n")
	for _, c := range exitCodes() {
		fmt.Fprintf(&b, "%5d  %s\n", c.code, strings.ReplaceAll(c.means, "`", ""))
		if c.do != "" {
			fmt.Fprintf(&b, "       -> %s\n", strings.ReplaceAll(c.do, "`", ""))
		}
	}
	b.WriteString("\nstatus and run give the code of how the run stands.")
	return &cobra.Command{Use: "exit", Short: "the exit codes and what to do about each", Long: b.String()}
}
