#!/bin/sh
# A shell script as an agent: `buddyctl exec` runs a command and records it, `buddyctl record`
# records what was done already, and `buddyctl import` takes many records at once.
set -u

buddyctl=${BUDDYCTL:-buddyctl}
export BUDDYD_AGENT=night-shift
export BUDDYD_TASK="backup-$$"

$buddyctl exec --tool list -- ls / >/dev/null
$buddyctl exec --tool compare -- sh -c 'exit 3'
echo "compared: $?"

$buddyctl record --tool upload --duration 12.5 --cost 0.04 --error-type timeout

now=$(date +%s)
for step in 1 2 3; do
    printf '{"execution_id":"%s-%s","task_id":"%s","agent_id":"%s","tool_name":"verify","duration_seconds":0.5,"success":true,"finished_at":%s}\n' \
        "$BUDDYD_TASK" "$step" "$BUDDYD_TASK" "$BUDDYD_AGENT" "$now"
done | $buddyctl import -

$buddyctl pipeline --json
