// Runs ONNX files for worker.py, with ONNX Runtime.
#include <onnxruntime_cxx_api.h>

#include <algorithm>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

struct Type {
  std::string name;
  ONNXTensorElementDataType number;
  std::size_t bytes;
};

const std::vector<Type> types = {
    {"float32", ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT, 4},
    {"int64", ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64, 8},
    {"uint8", ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8, 1},
};

template <typename Wanted>
const Type& type_where(Wanted wanted) {
  const auto found = std::find_if(types.begin(), types.end(), wanted);
  if (found == types.end()) throw std::runtime_error("a type that this program does not know");
  return *found;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  std::istringstream stream(text);
  for (std::string part; std::getline(stream, part, separator);) parts.push_back(part);
  return parts;
}

std::vector<char> read(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Runs one job: the inputs' bytes from the folder, the outputs' bytes into it.
std::string run(Ort::Session& session, const std::vector<std::string>& fields) {
  const std::string folder = fields.at(1) + "/";
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);
  std::vector<std::vector<char>> contents;  // the tensors only point to them
  std::vector<const char*> input_names;
  std::vector<Ort::Value> inputs;
  for (std::size_t i = 2; i + 2 < fields.size(); i += 3) {
    const auto& type = type_where([&](const Type& each) { return each.name == fields[i + 1]; });
    std::vector<std::int64_t> shape;
    for (const auto& size : split(fields[i + 2], ',')) shape.push_back(std::stoll(size));
    contents.push_back(read(folder + fields[i] + ".in"));
    inputs.push_back(Ort::Value::CreateTensor(memory, contents.back().data(), contents.back().size(),
                                              shape.data(), shape.size(), type.number));
    input_names.push_back(fields[i].c_str());
  }

  Ort::AllocatorWithDefaultOptions allocator;
  std::vector<Ort::AllocatedStringPtr> owned_names;
  std::vector<const char*> output_names;
  for (std::size_t i = 0; i < session.GetOutputCount(); ++i) {
    owned_names.push_back(session.GetOutputNameAllocated(i, allocator));
    output_names.push_back(owned_names.back().get());
  }
  const auto outputs = session.Run(Ort::RunOptions{}, input_names.data(), inputs.data(),
                                   inputs.size(), output_names.data(), output_names.size());

  std::ostringstream said;
  for (std::size_t i = 0; i < outputs.size(); ++i) {
    const auto facts = outputs[i].GetTensorTypeAndShapeInfo();
    const auto& type =
        type_where([&](const Type& each) { return each.number == facts.GetElementType(); });
    std::ofstream(folder + output_names[i] + ".out", std::ios::binary)
        .write(static_cast<const char*>(outputs[i].GetTensorRawData()),
               facts.GetElementCount() * type.bytes);
    said << "\t" << output_names[i] << "\t" << type.name << "\t";
    const auto shape = facts.GetShape();
    for (std::size_t axis = 0; axis < shape.size(); ++axis) said << (axis ? "," : "") << shape[axis];
  }
  return said.str();
}

}  // namespace

int main() {
  Ort::Env environment{ORT_LOGGING_LEVEL_ERROR, "anywhere"};
  Ort::SessionOptions options;
  options.SetIntraOpNumThreads(1);
  std::string path;
  std::unique_ptr<Ort::Session> session;
  for (std::string line; std::getline(std::cin, line);) {
    const auto fields = split(line, '\t');
    try {
      if (path != fields.at(0)) {
        path.clear();
        session = std::make_unique<Ort::Session>(environment, fields[0].c_str(), options);
        path = fields[0];
      }
      std::cout << "ok" << run(*session, fields) << std::endl;
    } catch (const std::exception& problem) {
      std::string words = problem.what();
      std::replace(words.begin(), words.end(), '\n', ' ');
      std::cout << "error\t" << words << std::endl;
    }
  }
}
