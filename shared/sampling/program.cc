#include "shared/sampling/program.h"

namespace pa {

int steps_of(const Program& program) {
  int steps = 0;
  for (const Stage& stage : program.stages) steps += stage.step >= 0 ? 1 : 0;
  return steps;
}

int evaluations_of(const Program& program) {
  int evaluations = 0;
  for (const Stage& stage : program.stages) evaluations += stage.input >= 0 ? 1 : 0;
  return evaluations;
}

int draws_of(const Program& program) {
  int draws = 0;
  for (const Stage& stage : program.stages) draws += static_cast<int>(stage.draws.size());
  return draws;
}

}  // namespace pa
